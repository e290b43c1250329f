#!/usr/bin/env python3
"""The dashboards, as code: `make dashboards` writes what the chart installs.

Two: the fleet, worst pair first, and one pair. Each panel says what to do when it looks bad. Labels
of the variables: `namespace` keeps installations apart, `publication` and `target` name a pair.

dashboards.py DIRECTORY
"""

import json
import pathlib
import sys

from grafana_foundation_sdk.builders import common, dashboard, prometheus, stat, statetimeline, table, timeseries
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import common as common_model
from grafana_foundation_sdk.models import dashboard as model
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

PROMETHEUS = model.DataSourceRef(type_val="prometheus", uid="${datasource}")
PAIR = 'namespace=~"$namespace", publication=~"$publication", target=~"$target"'
PEER = 'namespace=~"$namespace", connection=~"$connection"'
INSTANCE = 'namespace=~"$namespace"'

# Worst first: what the table of pairs sorts by.
STATES = [
    ("ok", 0, "green"),
    ("running", 1, "blue"),
    ("waiting", 2, "blue"),
    ("paused", 3, "purple"),
    ("degraded", 4, "yellow"),
    ("failing", 5, "orange"),
    ("blocked", 6, "red"),
]


def query(expr, legend="", reference="A", instant=False):
    built = prometheus.Dataquery().datasource(PROMETHEUS).expr(expr).ref_id(reference)
    if legend:
        built = built.legend_format(legend)
    return built.instant().format(PromQueryFormat.TABLE) if instant else built.range()


def steps(*colours):
    """Thresholds: colours with the value that each begins at."""
    return dashboard.ThresholdsConfig().mode(model.ThresholdsMode.ABSOLUTE).steps(
        [model.Threshold(value=value, color=colour) for value, colour in colours]
    )


def figure(title, expr, description, unit="short", thresholds=((None, "green"), (1, "red")), span=4, legend=""):
    return (
        stat.Panel()
        .title(title)
        .description(description)
        .datasource(PROMETHEUS)
        .unit(unit)
        .thresholds(steps(*thresholds))
        .color_mode(common_model.BigValueColorMode.BACKGROUND)
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
        .with_target(query(expr, legend))
        .height(4)
        .span(span)
    )


def graph(title, queries, description, unit="short", span=12, stacked=False):
    panel = (
        timeseries.Panel()
        .title(title)
        .description(description)
        .datasource(PROMETHEUS)
        .unit(unit)
        .min(0)
        .fill_opacity(15 if stacked else 5)
        .show_points(common_model.VisibilityMode.NEVER)
        .tooltip(common.VizTooltipOptions().mode(common_model.TooltipDisplayMode.MULTI).sort(common_model.SortOrder.DESCENDING))
        .height(8)
        .span(span)
    )
    if stacked:
        panel = panel.stacking(common.StackingConfig().mode(common_model.StackingMode.NORMAL).group("A"))
    for at, (expr, legend) in enumerate(queries):
        panel = panel.with_target(query(expr, legend, chr(ord("A") + at)))
    return panel


def state_as_a_number(by="namespace, publication, target"):
    parts = [f'{number} * tidemark_pair_state{{{PAIR}, state="{state}"}}' for state, number, _ in STATES]
    return f"max by ({by}) ({' or '.join(parts)})"


def state_mappings():
    options = {str(number): model.ValueMappingResult(text=state, color=colour) for state, number, colour in STATES}
    return [model.ValueMap(options=options)]


def base(title, uid, description, variables, other):
    built = (
        dashboard.Dashboard(title)
        .uid(uid)
        .description(description)
        .tags(["tidemark"])
        .refresh("30s")
        .time("now-6h", "now")
        .timezone("browser")
        .tooltip(model.DashboardCursorSync.CROSSHAIR)
        .link(
            dashboard.DashboardLink(other)
            .type(model.DashboardLinkType.DASHBOARDS)
            .tags(["tidemark"])
            .keep_time(True)
            .include_vars(True)
        )
        .annotation(
            dashboard.AnnotationQuery()
            .name("starts")
            .datasource(PROMETHEUS)
            .enable(True)
            .icon_color("blue")
            .expr(f"changes(process_start_time_seconds{{{INSTANCE}}}[2m]) > 0 and on (namespace, job, instance) tidemark_build_info")
        )
        .with_variable(dashboard.DatasourceVariable("datasource").label("Data source").type("prometheus"))
    )
    for variable in variables:
        built = built.with_variable(variable)
    return built


def variable(name, expr, many):
    built = (
        dashboard.QueryVariable(name)
        .label(name.capitalize())
        .datasource(PROMETHEUS)
        .query(f"label_values({expr}, {name})")
        .refresh(model.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(model.VariableSort.ALPHABETICAL_ASC)
    )
    # An installation that is scraped without namespaces has no value to choose.
    return built.multi(True).include_all(True).all_value(".*") if many else built


def fleet():
    variables = [
        variable("namespace", "tidemark_build_info", True),
        variable("publication", 'tidemark_pair_state{namespace=~"$namespace"}', True),
        variable("target", 'tidemark_pair_state{namespace=~"$namespace"}', True),
        variable("connection", 'tidemark_http_requests_total{namespace=~"$namespace"}', True),
    ]
    board = base("Tidemark: fleet", "tidemark-fleet", "All pairs, worst first, and the APIs that they reach.", variables, "One pair")
    board = (
        board.with_row(dashboard.Row("Fleet"))
        .with_panel(figure("Pairs", f'count(tidemark_pair_state{{{PAIR}, state="ok"}})', "What is configured.", thresholds=((None, "blue"),)))
        .with_panel(figure("Blocked", f'sum(tidemark_pair_state{{{PAIR}, state="blocked"}})', "Each waits for a decision: `tidemark status` says which and why."))
        .with_panel(figure("Failing", f'sum(tidemark_pair_state{{{PAIR}, state="failing"}})', "Tried again by themselves. Look at the kinds of error below.", thresholds=((None, "green"), (1, "orange"))))
        .with_panel(figure("Late", f"count(pair:tidemark_lateness_seconds{{{PAIR}}} > 0) or vector(0)", "Their schedule promised a run that has not brought success yet. A few while runs are under way are nothing.", thresholds=((None, "green"), (1, "yellow"))))
        .with_panel(figure("Items waiting", f"sum(pair:tidemark_waiting_items{{{PAIR}}})", "Parked and dead: `tidemark parked list` shows root causes.", thresholds=((None, "green"), (1, "yellow"))))
        .with_panel(figure("Unaccounted", f"sum(tidemark_unaccounted_changes_total{{{PAIR}}})", "Changes that a run took up and could not account for. Anything but 0 is a defect: report it."))
        .with_panel(pairs())
        .with_panel(graph("Pairs by state", [(f"sum by (state) (tidemark_pair_state{{{PAIR}}})", "{{state}}")], "What a whole fleet does together is one cause: look at the target, or at the network.", stacked=True))
        .with_panel(graph("Last errors", [(f"sum by (kind) (tidemark_last_run_error{{{PAIR}}})", "{{kind}}")], "Pairs whose last run failed, by kind. docs/operations.md says of each what to do.", stacked=True))
        .with_panel(graph("Blocked, by what", [(f"sum by (reason) (tidemark_pair_blocked{{{PAIR}}}) or vector(0)", "{{reason}}")], "Pairs that wait for a decision. `docs/operations.md` (Blocked pairs) has a way out for each.", stacked=True))
        .with_panel(graph("Longest waiting", [(f"topk(10, pair:tidemark_waiting_age_seconds{{{PAIR}}}) or vector(0)", "{{publication}} → {{target}}")], "The oldest parked or dead item of a pair. Above a day: TidemarkParkedOld, or TidemarkItemsDead.", "s"))
        .with_row(dashboard.Row("Publishing"))
        .with_panel(graph("Changes settled", [(f"sum by (stage, outcome) (rate(tidemark_changes_total{{{PAIR}}}[$__rate_interval]))", "{{stage}} {{outcome}}")], "A second. Nothing at all while runs are under way: see TidemarkRunStuck.", "cps"))
        .with_panel(graph("Runs", [(f"sum by (outcome) (rate(tidemark_runs_total{{{PAIR}}}[$__rate_interval]))", "{{outcome}}")], "A second, by how they ended.", "cps"))
        .with_panel(graph("Duration of runs", [(f"histogram_quantile({q}, sum by (le) (rate(tidemark_run_duration_seconds_bucket{{{PAIR}}}[$__range])))", f"p{int(q * 100)}") for q in (0.5, 0.95, 0.99)], "Over the time shown.", "s"))
        .with_panel(graph("From change to target", [(f"histogram_quantile({q}, sum by (le) (rate(tidemark_end_to_end_latency_seconds_bucket{{{PAIR}}}[$__range]))) or vector(0)", f"p{int(q * 100)}") for q in (0.5, 0.95, 0.99)], "By when the source says that it changed, over the time shown. Far above the interval of the schedule: items waited.", "s"))
        .with_panel(graph("Sources not as they should be", [(f"sum by (kind) (increase(tidemark_source_anomalies_total{{{PAIR}}}[$__range])) or vector(0)", "{{kind}}")], "In the time shown, by what was found. The same at many pairs: look at the source, or at when its snapshots are made."))
        .with_panel(graph("Latest", [(f"topk(10, pair:tidemark_lateness_seconds{{{PAIR}}})", "{{publication}} → {{target}}")], "The ten that are furthest behind their schedule.", "s"))
    )
    return peers(board).build()


def pairs():
    columns = {
        "A": (state_as_a_number(), "State"),
        "B": (f"max by (namespace, publication, target) (pair:tidemark_lateness_seconds{{{PAIR}}})", "Late by"),
        "C": (f"max by (namespace, publication, target) (tidemark_failed_runs{{{PAIR}}})", "Failed runs"),
        "D": (f"max by (namespace, publication, target) (tidemark_lag_versions{{{PAIR}}})", "Lag (versions)"),
        "E": (f"max by (namespace, publication, target) (tidemark_parked_items{{{PAIR}}})", "Parked"),
        "F": (f"max by (namespace, publication, target) (tidemark_dead_items{{{PAIR}}})", "Dead"),
        "G": (f"1000 * max by (namespace, publication, target) (tidemark_last_success_timestamp_seconds{{{PAIR}}} > 0)", "Last success"),
        "H": (f"1000 * max by (namespace, publication, target) (tidemark_next_run_timestamp_seconds{{{PAIR}}} > 0)", "Next run"),
    }
    panel = (
        table.Panel()
        .title("Pairs, worst first")
        .description("A pair opens its own dashboard.")
        .datasource(PROMETHEUS)
        .height(12)
        .span(24)
        .sort_by([common.TableSortByFieldState().display_name("State").desc(True)])
        .with_transformation(model.DataTransformerConfig(id_val="merge", options={}))
        .with_transformation(
            model.DataTransformerConfig(
                id_val="organize",
                options={
                    "excludeByName": {"Time": True},
                    "renameByName": {f"Value #{reference}": name for reference, (_, name) in columns.items()},
                },
            )
        )
        .override_by_name("State", [
            model.DynamicConfigValue(id_val="mappings", value=state_mappings()),
            model.DynamicConfigValue(id_val="custom.cellOptions", value={"type": "color-background", "mode": "basic"}),
        ])
        .override_by_name("Late by", [model.DynamicConfigValue(id_val="unit", value="s")])
        .override_by_name("Last success", [model.DynamicConfigValue(id_val="unit", value="dateTimeFromNow")])
        .override_by_name("Next run", [model.DynamicConfigValue(id_val="unit", value="dateTimeFromNow")])
        .override_by_name("publication", [
            model.DynamicConfigValue(
                id_val="links",
                value=[{
                    "title": "This pair",
                    "url": "/d/tidemark-pair?var-namespace=${__data.fields.namespace}&var-publication=${__data.fields.publication}&var-target=${__data.fields.target}",
                }],
            )
        ])
    )
    for reference, (expr, _) in columns.items():
        panel = panel.with_target(query(expr, reference=reference, instant=True))
    return panel


def peers(board):
    return (
        board.with_row(dashboard.Row("APIs"))
        .with_panel(graph("Requests", [(f"sum by (connection, status) (rate(tidemark_http_requests_total{{{PEER}}}[$__rate_interval]))", "{{connection}} {{status}}")], "By class of the answer; `none` is no answer.", "reqps"))
        .with_panel(graph("Answers of 5xx and none", [(f"connection:tidemark_http_error_ratio:rate5m{{{PEER}}}", "{{connection}}")], "Of all requests. Above a fifth for half an hour: TidemarkConnectionErrors.", "percentunit"))
        .with_panel(graph("Time of a request", [(f"histogram_quantile({q}, sum by (le, connection) (rate(tidemark_http_request_duration_seconds_bucket{{{PEER}}}[$__rate_interval])))", f"{{{{connection}}}} p{int(q * 100)}") for q in (0.5, 0.95, 0.99)], "From the first byte sent to the last received.", "s"))
        .with_panel(graph("Concurrency", [(f"max by (connection, origin) (tidemark_http_concurrency_limit{{{PEER}}})", "{{connection}} {{origin}} in force"), (f"sum by (connection, origin) (tidemark_http_requests_in_flight{{{PEER}}})", "{{connection}} {{origin}} in flight")], "Adapts to what the API bears. It falls when the API answers slower or asks for less."))
        .with_panel(graph("No usable answer", [(f"sum by (connection, kind) (rate(tidemark_http_errors_total{{{PEER}}}[$__rate_interval]))", "{{connection}} {{kind}}")], "By what went wrong.", "reqps"))
        .with_panel(graph("Sent again", [(f"sum by (connection, reason) (rate(tidemark_http_retries_total{{{PEER}}}[$__rate_interval]))", "{{connection}} {{reason}}")], "By why. They have a budget: retries end before they become a load of their own.", "reqps"))
        .with_panel(graph("Asked to be left alone", [(f"sum by (connection) (rate(tidemark_http_paused_seconds_total{{{PEER}}}[$__rate_interval]))", "{{connection}}")], "Part of the time. Above a quarter for an hour: TidemarkThrottled.", "percentunit"))
        .with_panel(graph("Left alone for", [(f"clamp_min(max by (connection, origin) (tidemark_http_not_before_timestamp_seconds{{{PEER}}}) - time(), 0)", "{{connection}} {{origin}}")], "Nothing is sent before that, as the API asked. 0 when it is over.", "s"))
        .with_panel(graph("Retries refused by their budget", [(f"sum by (connection, origin) (rate(tidemark_http_retry_budget_exhausted_total{{{PEER}}}[$__rate_interval]))", "{{connection}} {{origin}}")], "More of them than the API could bear. It is in trouble: see what it answers.", "reqps"))
        .with_panel(graph("Bytes of bodies", [(f"sum by (connection, direction) (rate(tidemark_http_body_bytes_total{{{PEER}}}[$__rate_interval]))", "{{connection}} {{direction}}")], "Decompressed. Many bytes for few changes: a page size that does not fit.", "Bps"))
        .with_row(dashboard.Row("Tokens and certificates"))
        .with_panel(graph("Certificates are good for", [(f"certificate:tidemark_validity_seconds{{{INSTANCE}}}", "{{connection}} {{kind}}")], "Below a month: TidemarkCertificateEndsSoon; below a week: TidemarkCertificateEnds.", "s"))
        .with_panel(graph("Tokens are good for", [(f"clamp_min(max by (connection) (tidemark_token_expiry_timestamp_seconds{{{PEER}}}) - time(), 0)", "{{connection}}")], "Renewed at four fifths of their life while runs need them; 0 between runs is nothing.", "s"))
        .with_panel(graph("Tokens", [(f"sum by (connection, outcome) (increase(tidemark_token_renewals_total{{{PEER}}}[$__range]))", "{{connection}} {{outcome}}")], "Asked for in the time shown. Anything but `ok`: look at key and secret.", "short"))
        .with_row(dashboard.Row("State and process"))
        .with_panel(figure("Version", f"tidemark_build_info{{{INSTANCE}}}", "What runs, and the commit that it was built from.", thresholds=((None, "blue"),), legend="{{version}} {{commit}}").text_mode(common_model.BigValueTextMode.NAME))
        .with_panel(figure("Since the last backup", f"time() - max(tidemark_last_backup_timestamp_seconds{{{INSTANCE}}} > 0)", "Of the state. Above two days: TidemarkBackupOld.", "s", ((None, "green"), (172800, "orange"))))
        .with_panel(figure("Failed backups", f"sum(tidemark_failed_backups_total{{{INSTANCE}}})", "Since the process started; the log says why."))
        .with_panel(figure("Up for", f"time() - max(process_start_time_seconds{{{INSTANCE}}} and on (namespace, job, instance) tidemark_build_info)", "Again and again a few minutes: TidemarkRestarting.", "s", ((None, "blue"),)))
        .with_panel(figure("Open files", f"max(process_open_fds{{{INSTANCE}}} and on (namespace, job, instance) tidemark_build_info)", "Of at most `process_max_fds`.", thresholds=((None, "blue"),)))
        .with_panel(figure("Threads", f"max(process_threads{{{INSTANCE}}} and on (namespace, job, instance) tidemark_build_info)", "A few, whatever runs.", thresholds=((None, "blue"),)))
        .with_panel(graph("Memory", [(f"process_resident_memory_bytes{{{INSTANCE}}} and on (namespace, job, instance) tidemark_build_info", "{{instance}}")], "Flat over days. If it grows without end, report it.", "bytes"))
        .with_panel(graph("Processor", [(f"rate(process_cpu_seconds_total{{{INSTANCE}}}[$__rate_interval]) and on (namespace, job, instance) tidemark_build_info", "{{instance}}")], "Cores in use.", "short"))
        .with_panel(graph("Disk of the state", [(f"tidemark_state_size_bytes{{{INSTANCE}}}", "{{instance}} taken"), (f"tidemark_state_free_bytes{{{INSTANCE}}}", "{{instance}} free")], "Free below twice what is taken, or below 256 MiB: TidemarkDiskFilling.", "bytes"))
        .with_panel(graph("Time of a step of the state", [(f"histogram_quantile({q}, sum by (le) (rate(tidemark_state_commit_duration_seconds_bucket{{{INSTANCE}}}[$__rate_interval])))", f"p{int(q * 100)}") for q in (0.5, 0.99)], "Until it is on disk. Above a second runs wait for the disk.", "s"))
        .with_panel(graph("Calls of the state that failed", [(f"sum by (kind) (tidemark_state_errors_total{{{INSTANCE}}})", "{{kind}}")], "The process ends after the first, and the next start goes on from the last complete step: see the log and the disk."))
        .with_panel(figure("State takes nothing more", f"max(tidemark_state_poisoned{{{INSTANCE}}})", "1 from the first failed call until the process was started again.", span=12))
        .with_panel(figure("Log records lost", f"sum(tidemark_log_records_lost_total{{{INSTANCE}}})", "Nobody read the log in time: see what takes it.", span=3))
        .with_panel(figure("Configuration refused", f"max(tidemark_config_reload_refused{{{INSTANCE}}})", "The one on disk has mistakes, and the last good one is in force: TidemarkConfigurationRefused.", span=3))
        .with_panel(figure("Configuration", f"tidemark_config_info{{{INSTANCE}}}", "A hash of the files in force: the same on two installations, the same configuration.", thresholds=((None, "blue"),), legend="{{hash}}", span=3).text_mode(common_model.BigValueTextMode.NAME))
        .with_panel(figure("Configured since", f"time() - max(tidemark_config_reload_timestamp_seconds{{{INSTANCE}}} > 0 or process_start_time_seconds{{{INSTANCE}}} and on (namespace, job, instance) tidemark_build_info)", "When the configuration in force was taken.", "s", ((None, "blue"),), 3))
        .with_panel(graph("Reloads", [(f"sum by (outcome) (increase(tidemark_config_reloads_total{{{INSTANCE}}}[$__range]))", "{{outcome}}")], "Of the configuration, in the time shown."))
    )


def one_pair():
    variables = [
        variable("namespace", "tidemark_build_info", True),
        variable("publication", 'tidemark_pair_state{namespace=~"$namespace"}', False),
        variable("target", 'tidemark_pair_state{namespace=~"$namespace", publication=~"$publication"}', False),
    ]
    board = base("Tidemark: one pair", "tidemark-pair", "How far one pair is, why it is not further, and what waits.", variables, "Fleet")
    timeline = (
        statetimeline.Panel()
        .title("State")
        .description("`blocked` waits for a person, `failing` is tried again by itself, `degraded` has items waiting.")
        .datasource(PROMETHEUS)
        .mappings(state_mappings())
        .merge_values(True)
        .with_target(query(state_as_a_number(), "{{publication}} → {{target}}"))
        .height(4)
        .span(24)
    )
    return (
        board.with_row(dashboard.Row("How far"))
        .with_panel(timeline)
        .with_panel(figure("Late by", f"max(pair:tidemark_lateness_seconds{{{PAIR}}})", "Counted from the schedule: 0 while it keeps its promise, also when the source rests.", "s", ((None, "green"), (3600, "orange"), (21600, "red")), 6))
        .with_panel(figure("Since the last success", f"time() - max(tidemark_last_success_timestamp_seconds{{{PAIR}}} > 0)", "A run that finds nothing new is one too.", "s", ((None, "blue"),), 6))
        .with_panel(figure("Until the next run", f"clamp_min(max(tidemark_next_run_timestamp_seconds{{{PAIR}}} > 0) - time(), 0)", "Nothing here: nothing will start it.", "s", ((None, "blue"),), 6))
        .with_panel(figure("Failed in a row", f"max(tidemark_failed_runs{{{PAIR}}})", "Runs since the last that did not fail.", span=6))
        .with_panel(graph("Watermark and newest", [(f"max(tidemark_watermark_version{{{PAIR}}})", "watermark"), (f"max(tidemark_newest_version{{{PAIR}}})", "newest at the source")], "The watermark follows in steps, one for each complete run. It never falls by itself."))
        .with_panel(graph("Lag", [(f"max(tidemark_lag_versions{{{PAIR}}})", "versions")], "A number of changes at most, never a time."))
        .with_row(dashboard.Row("Runs"))
        .with_panel(graph("Run under way for", [(f"time() - max(tidemark_run_start_timestamp_seconds{{{PAIR}}} > 0) or vector(0)", "seconds")], "0 when none is.", "s", 8))
        .with_panel(graph("Resources of the run", [(f"sum by (state) (tidemark_run_resources{{{PAIR}}}) or vector(0)", "{{state}}")], "Begun and ended by the run that is under way, each stage for itself.", span=8))
        .with_panel(figure("Since the source was asked", f"time() - max(tidemark_newest_seen_timestamp_seconds{{{PAIR}}} > 0)", "For its newest version. It grows while no run gets that far.", "s", ((None, "blue"),), 8))
        .with_panel(figure("Blocked by", f"max by (reason) (tidemark_pair_blocked{{{PAIR}}}) or vector(0)", "What a person has to decide about; docs/operations.md (Blocked pairs) has the way out.", legend="{{reason}}", span=8).text_mode(common_model.BigValueTextMode.VALUE_AND_NAME))
        .with_panel(graph("Runs by outcome", [(f"sum by (outcome) (increase(tidemark_runs_total{{{PAIR}}}[$__rate_interval]))", "{{outcome}}")], "How they ended.", span=8, stacked=True))
        .with_panel(graph("Last error", [(f"max by (kind) (tidemark_last_run_error{{{PAIR}}}) or vector(0)", "{{kind}}")], "1 for the kind that the last run failed with. docs/operations.md says what to do.", span=8))
        .with_panel(graph("Changes settled", [(f"sum by (stage, outcome) (rate(tidemark_changes_total{{{PAIR}}}[$__rate_interval]))", "{{stage}} {{outcome}}")], "A second. Key changes, then upserts, then deletes.", "cps"))
        .with_panel(graph("By resource", [(f"topk(20, sum by (resource) (increase(tidemark_changes_total{{{PAIR}}}[$__range])))", "{{resource}}")], "The twenty with most changes in the time shown. Large fleets leave this label out.", "short"))
        .with_panel(graph("Conservation", [(f"sum(tidemark_unaccounted_changes_total{{{PAIR}}})", "unaccounted")], "read = applied + skipped + parked. A flat 0, or a defect of Tidemark: report it."))
        .with_panel(graph("Duration of runs", [(f"histogram_quantile({q}, sum by (le) (rate(tidemark_run_duration_seconds_bucket{{{PAIR}}}[$__range])))", f"p{int(q * 100)}") for q in (0.5, 0.95)], "Over the time shown.", "s"))
        .with_panel(graph("From change to target", [(f"histogram_quantile({q}, sum by (le) (rate(tidemark_end_to_end_latency_seconds_bucket{{{PAIR}}}[$__range]))) or vector(0)", f"p{int(q * 100)}") for q in (0.5, 0.95)], "By when the source says that it changed, over the time shown.", "s"))
        .with_panel(graph("Source not as it should be", [(f"sum by (kind) (increase(tidemark_source_anomalies_total{{{PAIR}}}[$__range])) or vector(0)", "{{kind}}")], "In the time shown. docs/operations.md says of each error and each block what to do."))
        .with_row(dashboard.Row("What waits"))
        .with_panel(graph("Items", [(f"max(tidemark_parked_items{{{PAIR}}})", "parked"), (f"max(tidemark_dead_items{{{PAIR}}})", "dead")], "Parked are tried again by themselves, dead wait for a person: `tidemark parked list`."))
        .with_panel(graph("Waiting by reason", [(f"sum by (reason) (tidemark_waiting_items{{{PAIR}}}) or vector(0)", "{{reason}}")], "docs/operations.md (Parked items) says of each what to do.", stacked=True))
        .with_panel(graph("Longest waiting", [(f"max(pair:tidemark_waiting_age_seconds{{{PAIR}}}) or vector(0)", "seconds")], "The oldest parked or dead item. Above a day: TidemarkParkedOld.", "s"))
        .with_panel(graph("Parked by resource", [(f'topk(20, sum by (resource) (increase(tidemark_changes_total{{{PAIR}, outcome="parked"}}[$__range])))', "{{resource}}")], "Where the target refuses most, in the time shown."))
        .with_panel(graph("Compared", [(f"max(tidemark_compared_equal{{{PAIR}}}) or vector(0)", "equal")], "1 when the last comparison of all resources found both ends equal; 0 also where none was made."))
        .with_panel(graph("Unlike items", [(f"max by (unlike) (tidemark_compared_unlike_items{{{PAIR}}}) or vector(0)", "{{unlike}}")], "What that comparison found: missing or different at the target, or only there. `tidemark verify --repair` mends."))
        .with_panel(graph("Tried again", [(f"sum by (outcome) (rate(tidemark_parked_retries_total{{{PAIR}}}[$__rate_interval]))", "{{outcome}}")], "Parked items. Only `parked`: what refuses them has not changed.", "cps"))
        .with_panel(graph("No longer waited for", [(f"sum by (reason) (tidemark_discarded_items_total{{{PAIR}}})", "{{reason}}")], "Given up by a person or forgotten: `tidemark audit list` says by whom. `unaccounted` is a defect: report it."))
        .with_panel(figure("Since the last comparison", f"time() - max(tidemark_compared_timestamp_seconds{{{PAIR}}}) or vector(0)", "Of all resources; 0 where none was made.", "s", ((None, "blue"),), 12))
        .with_panel(graph("People not visible", [(f"sum(tidemark_not_visible_total{{{PAIR}}})", "items")], "Deleted at the source, and not shown by the target to these credentials: perhaps still there."))
    ).build()


def main():
    directory = pathlib.Path(sys.argv[1])
    for name, board in (("fleet", fleet()), ("pair", one_pair())):
        made = json.loads(JSONEncoder().encode(board))
        for number, panel in enumerate(made["panels"], start=1):
            panel["id"] = number
        text = json.dumps(made, sort_keys=True, indent=1)
        (directory / f"{name}.json").write_text(text + "\n")


if __name__ == "__main__":
    main()
