# Made by scripts/sync_client.py of goblin/aio/__init__.py; do not edit.
