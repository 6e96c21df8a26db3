"""IGPO / Operator: all runs by phase, those that need somebody, and the operator itself."""

from typing import Final

from igpo_monitoring.board import Board, Row
from igpo_monitoring.panels import GREEN, RED, YELLOW, Column, Looks, Query, lines, number, rows, stack
from igpo_monitoring.promql import LEGEND_KIND, last, of_runs, share

_OF_KIND: Final = 'kind=~"$kind"'
_PHASES: Final = (
    ("Pending", "text"), ("Waiting", "super-light-orange"), ("Queued", "orange"), ("Starting", "super-light-blue"),
    ("Rewriting", "purple"), ("Running", "blue"), ("Restarting", YELLOW), ("Suspending", "light-purple"),
    ("Suspended", "super-light-purple"), ("Complete", GREEN), ("Failed", RED),
)  # fmt: skip
_ALIVE: Final = "and on (job, instance) igpo_operator_leases_held"
"""What tells the operator's process metrics from anybody else's."""
_RECONCILES: Final = f"igpo_operator_reconcile_total{{{_OF_KIND}}}"
_BUCKETS: Final = f"igpo_operator_reconcile_duration_seconds_bucket{{{_OF_KIND}}}"


def _runs_in(*phases: str) -> str:
    found = of_runs("igpo_operator_run_status_phase", f'phase=~"{"|".join(phases)}"')
    return f"count({found} == 1) or vector(0)"


def _latency(q: float) -> str:
    return f"histogram_quantile({q}, sum by (kind, le) (rate({_BUCKETS}[$__rate_interval])))"


_COUNTS = Row(
    "Runs",
    (
        number("Running", "Runs that train or rewrite.", Query(_runs_in("Running", "Rewriting")),
               Looks(unit="none", width=4, height=4, steps=((None, "blue"),))),
        number("Waiting", "Runs that wait for quota, pods, or another run.",
               Query(_runs_in("Pending", "Waiting", "Queued", "Starting")),
               Looks(unit="none", width=4, height=4, steps=((None, "blue"),))),
        number("Restarting", "Runs between two attempts.", Query(_runs_in("Restarting")),
               Looks(unit="none", width=4, height=4, steps=((None, GREEN), (1, YELLOW)))),
        number("Suspended", "Runs that somebody has suspended.", Query(_runs_in("Suspending", "Suspended")),
               Looks(unit="none", width=4, height=4, steps=((None, "blue"),))),
        number("Complete", "Runs that have finished.", Query(_runs_in("Complete")),
               Looks(unit="none", width=4, height=4)),
        number("Failed", "Runs that have failed for good.", Query(_runs_in("Failed")),
               Looks(unit="none", width=4, height=4, steps=((None, GREEN), (1, RED)))),
        stack("Runs by phase", "Every run is in one phase.",
              [Query(f"sum by (phase) ({of_runs('igpo_operator_run_status_phase')}) > 0", "{{phase}}")],
              Looks(unit="none", width=8, height=8, steps=((None, "blue"),), colors=_PHASES)),
        rows("Where the runs are", "Step, restarts and how long ago something moved, by the operator's clock.",
             [Column(last("igpo_operator_run_step"), "Step", "none"),
              Column(f"sum by (namespace, kind, training) ({of_runs('igpo_operator_run_restarts_total')})", "Restarts",
                     "none"),
              Column(f"time() - {last('igpo_operator_run_last_progress_timestamp_seconds')}", "Since progress", "s")],
             Looks(width=16, height=8, unit="none")),
        rows("Not ready", "Runs whose condition Ready is not true, and their phase; kubectl describe says why.",
             [Column(f"max by (namespace, kind, training, phase) ({of_runs('igpo_operator_run_status_phase')} == 1 "
                     'unless on (namespace, kind, training) '
                     f"""{of_runs('igpo_operator_run_status_condition', 'condition="Ready"', 'status="True"')})""",
                     "Ready")],
             Looks(width=12, unit="none"), hidden=("Value",)),
        lines("Reward of every run", "As in status.metrics, also of runs whose pods are gone.",
              [Query(last("igpo_operator_run_metric", 'metric="reward"'), LEGEND_KIND)],
              Looks(unit="none", width=12)),
        lines("Waited until running", "From being applied to the first gang running.",
              [Query(f"{last('igpo_operator_run_start_timestamp_seconds')} - "
                     f"{last('igpo_operator_run_created_timestamp_seconds')}", LEGEND_KIND)],
              Looks(unit="s", width=12, low=0)),
        lines("Restarts", "By cause, since the beginning of each run; runs without one are left out.",
              [Query(f"{last('igpo_operator_run_restarts_total', by='reason')} > 0", f"{LEGEND_KIND} {{{{reason}}}}")],
              Looks(unit="none", width=12, low=0, roof=1, decimals=0)),
    ),
)  # fmt: skip

_RECONCILING = Row(
    "Reconciling",
    (
        lines("Looks at runs per second", "By kind and result.",
              [Query(f"sum by (kind, result) (rate({_RECONCILES}[$__rate_interval]))", "{{kind}} {{result}}")],
              Looks(unit="ops", low=0)),
        lines("Failed looks", "Share of looks that ended in an error; alerts above 10 %.",
              [Query(share(f'sum by (kind) (rate(igpo_operator_reconcile_total{{{_OF_KIND}, result="error"}}'
                           "[$__rate_interval])) or 0 * sum by (kind) (rate(" + _RECONCILES + "[$__rate_interval]))",
                           f"sum by (kind) (rate({_RECONCILES}[$__rate_interval]))"), "{{kind}}")],
              Looks(unit="percentunit", low=0, high=1, steps=((None, GREEN), (0.1, RED))), marks=True),
        lines("Time of a look", "Median and 99th percentile.",
              [Query(_latency(0.5), "{{kind}} p50"), Query(_latency(0.99), "{{kind}} p99")], Looks(unit="s", low=0)),
        lines("Queue", "Runs that wait for a worker.",
              [Query("max by (job, instance) (igpo_operator_queue_depth)", "runs")],
              Looks(unit="none", low=0, roof=1, decimals=0)),
        lines("Longest wait", "How long the oldest entry of the queue has waited.",
              [Query("max by (job, instance) (igpo_operator_queue_oldest_seconds)", "oldest")],
              Looks(unit="s", low=0, roof=1)),
        lines("Looks at trainers", "Scrapes of rank 0 per second, by result.",
              [Query("sum by (result) (rate(igpo_operator_scrapes_total[$__rate_interval]))", "{{result}}")],
              Looks(unit="ops", low=0)),
    ),
)  # fmt: skip

_PROCESS = Row(
    "The process",
    (
        lines("Requests to the API server", "Per second by verb and status code; 0 is no answer.",
              [Query("sum by (verb, code) (rate(igpo_operator_api_requests_total[$__rate_interval]))",
                     "{{verb}} {{code}}")], Looks(unit="reqps", low=0)),
        lines("Since the last event of a watch", "By resource. Long is normal in a quiet cluster.",
              [Query("time() - max by (resource) (igpo_operator_watch_last_event_timestamp_seconds)", "{{resource}}")],
              Looks(unit="s", low=0, roof=60)),
        lines("Missed by the watches", "How long a change that is known has not come by its watch.",
              [Query("max by (job, instance) (igpo_operator_watch_missed_seconds)", "missed")],
              Looks(unit="s", low=0, roof=1)),
        lines("Leases", "Held by this process: one, or one a watched namespace.",
              [Query("max by (job, instance) (igpo_operator_leases_held)", "held")],
              Looks(unit="none", width=6, low=0, roof=1, decimals=0)),
        lines("Event loop", "How late it last was.",
              [Query("max by (job, instance) (igpo_operator_event_loop_lag_seconds)", "lag")],
              Looks(unit="s", width=6, low=0, roof=0.1)),
        lines("Memory", "Resident.", [Query(f"process_resident_memory_bytes {_ALIVE}", "{{instance}}")],
              Looks(unit="bytes", width=6, low=0)),
        lines("CPU", "Cores in use.",
              [Query(f"rate(process_cpu_seconds_total[$__rate_interval]) {_ALIVE}", "{{instance}}")],
              Looks(unit="none", width=6, low=0)),
    ),
)  # fmt: skip

OPERATOR: Final = Board(
    uid="igpo-operator",
    title="Operator",
    text="Every run by phase, what needs somebody, and how the operator itself is.",
    known_by="igpo_operator_run_info",
    rows=(_COUNTS, _RECONCILING, _PROCESS),
)
