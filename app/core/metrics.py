"""What one process counts and times for Prometheus.

Each process has its own registry and answers for itself alone. No label ever holds a raw path,
a user or a token: every label has a known set of values, so that no caller can fill memory.
What can be looked up when somebody asks (the pool, the alarm) is not counted here but read
then, by app/http/metrics.py.
"""

import platform
from bisect import bisect_left
from collections.abc import Callable, Iterable
from itertools import accumulate
from typing import Final

import prometheus_client
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
OTHER_METHOD: Final = "(other)"
"""Any word is a method to HTTP; these would be one series each."""

REQUEST_SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
ACQUIRE_SECONDS: Final = (0.0001, 0.001, 0.01, 0.1, 0.5, 1, 2)
UPSTREAM_SECONDS: Final = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)


class _Requests(Collector):
    """Requests by status and by how long they took.

    Counted in plain numbers, because the library's own take four locks for each request and
    every request is one.
    """

    def __init__(self) -> None:
        self._answered: dict[tuple[str, str, str], int] = {}
        self._buckets: dict[tuple[str, str], list[int]] = {}
        self._seconds: dict[tuple[str, str], float] = {}

    def add(self, *, method: str, route: str, status: str, seconds: float) -> None:
        """One more."""
        key, place = (method, route, status), (method, route)
        self._answered[key] = self._answered.get(key, 0) + 1
        buckets = self._buckets.get(place)
        if buckets is None:
            buckets = self._buckets[place] = [0] * (len(REQUEST_SECONDS) + 1)
        buckets[bisect_left(REQUEST_SECONDS, seconds)] += 1
        self._seconds[place] = self._seconds.get(place, 0.0) + seconds

    def collect(self) -> Iterable[Metric]:
        answered = CounterMetricFamily(
            "goblin_http_requests",
            "Requests answered; status is aborted where the client left before an answer began.",
            labels=("method", "route", "status"),
        )
        for labels, count in self._answered.items():
            answered.add_metric(labels, count)
        yield answered
        lasting = HistogramMetricFamily(
            "goblin_http_request_duration_seconds",
            "Time from the first byte of a request to the last of its answer.",
            labels=("method", "route"),
        )
        bounds = [*(str(float(seconds)) for seconds in REQUEST_SECONDS), "+Inf"]
        for place, counts in self._buckets.items():
            cumulated = list(zip(bounds, accumulate(counts), strict=True))
            lasting.add_metric(place, cumulated, self._seconds[place])
        yield lasting


class Metrics:
    """The counters and histograms of a process; `in_flight` are the requests it works on."""

    def __init__(self, *, version: str) -> None:
        # One more series for each counter, which nobody reads. Theirs has no annotations.
        leave_out_created: Callable[[], None] = prometheus_client.disable_created_metrics
        leave_out_created()
        self.registry = CollectorRegistry()
        self.in_flight = 0
        self._requests = _Requests()
        self.registry.register(self._requests)
        self._acquire_seconds = Histogram(
            "goblin_database_acquire_seconds",
            "Time that a request or job waited for a database connection.",
            buckets=ACQUIRE_SECONDS,
            registry=self.registry,
        )
        self._upstream_seconds = Histogram(
            "goblin_upstream_duration_seconds",
            "Time that a venue took; outcome is answered or the code of the error.",
            ("venue", "outcome"),
            buckets=UPSTREAM_SECONDS,
            registry=self.registry,
        )
        self._orders = Counter(
            "goblin_orders",
            "Orders by action, and done, replayed (a retry) or the code of the refusal.",
            ("action", "outcome"),
            registry=self.registry,
        )
        self._job_success = Gauge(
            "goblin_job_last_success_timestamp_seconds",
            "When a background job of this process last did its work.",
            ("job",),
            registry=self.registry,
        )
        build = Gauge(
            "goblin_build_info",
            "Always 1; the labels say what runs.",
            ("version", "python"),
            registry=self.registry,
        )
        build.labels(version, platform.python_version()).set(1)
        prometheus_client.ProcessCollector(registry=self.registry)
        self._order_children: dict[tuple[str, str], Counter] = {}

    def request(self, *, method: str, route: str, status: int | None, seconds: float) -> None:
        """A request ended; `route` is a template, `status` None where no answer began."""
        self._requests.add(
            method=method if method in METHODS else OTHER_METHOD,
            route=route,
            status="aborted" if status is None else str(status),
            seconds=seconds,
        )

    def acquired(self, seconds: float) -> None:
        """A database connection was had, or given up, after `seconds`."""
        self._acquire_seconds.observe(seconds)

    def asked(self, venue: str, outcome: str, seconds: float) -> None:
        """A venue answered, or failed with the error of that code."""
        self._upstream_seconds.labels(venue, outcome).observe(seconds)

    def order(self, action: str, outcome: str) -> None:
        """An order was opened, closed, replayed or refused."""
        count = self._order_children.get((action, outcome))
        if count is None:
            count = self._order_children[action, outcome] = self._orders.labels(action, outcome)
        count.inc()

    def job_succeeded(self, job: str) -> None:
        """A job went through its work once."""
        self._job_success.labels(job).set_to_current_time()
