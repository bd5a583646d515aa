use std::collections::HashSet;
use std::fmt::Write;

use crate::accept;

const OPEN_METRICS: &str = "application/openmetrics-text";

/// How figures are told: as who asks for them understands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// OpenMetrics 1.0.
    OpenMetrics,
    /// What Prometheus read before there was that, and reads still.
    Prometheus,
}

impl Format {
    /// What somebody understands by the `Accept` header: OpenMetrics has to be asked for.
    pub(crate) fn accepted(accept: Option<&str>) -> Format {
        let names_it = accept.is_some_and(|accept| accept.to_ascii_lowercase().contains(OPEN_METRICS));
        let weight = |media_type| accept::weight(accept, media_type);
        if names_it && weight(OPEN_METRICS) > 0 && weight(OPEN_METRICS) >= weight("text/plain") {
            Format::OpenMetrics
        } else {
            Format::Prometheus
        }
    }

    /// Its media type.
    pub(crate) fn media_type(self) -> &'static str {
        match self {
            Format::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Format::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
        }
    }

    /// What is written as OpenMetrics, in this format.
    pub(super) fn of(self, open_metrics: String) -> String {
        match self {
            Format::OpenMetrics => open_metrics,
            Format::Prometheus => to_prometheus(&open_metrics),
        }
    }
}

/// There a counter is called in its comments as it is in its samples, and units and the end are not told.
fn to_prometheus(open_metrics: &str) -> String {
    let counters: HashSet<&str> =
        open_metrics.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.strip_suffix(" counter")).collect();
    let mut out = String::with_capacity(open_metrics.len() + 16 * counters.len());
    for line in open_metrics.lines().filter(|line| !line.starts_with("# UNIT ") && *line != "# EOF") {
        let comment = line.strip_prefix("# ").and_then(|comment| comment.split_once(' '));
        let named = comment.and_then(|(what, rest)| Some((what, rest.split_once(' ')?)));
        let written = match named {
            Some((what, (name, rest))) if counters.contains(name) => writeln!(out, "# {what} {name}_total {rest}"),
            _ => writeln!(out, "{line}"),
        };
        written.expect("a String takes everything that is written to it");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn open_metrics_is_for_those_who_ask_for_it() {
        let of = |accept| Format::accepted(Some(accept));
        assert_eq!(Format::accepted(None), Format::Prometheus);
        assert_eq!(of("*/*"), Format::Prometheus);
        assert_eq!(of("text/plain"), Format::Prometheus);
        assert_eq!(of("application/openmetrics-text;version=1.0.0"), Format::OpenMetrics);
        assert_eq!(of("application/openmetrics-text;q=0"), Format::Prometheus);
        assert_eq!(of("application/openmetrics-text;q=0.1,text/plain;q=0.5"), Format::Prometheus);
        // What Prometheus sends.
        let prometheus = "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,\
                          text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
        assert_eq!(of(prometheus), Format::OpenMetrics);
    }

    #[test]
    fn a_counter_has_one_name_in_the_old_format() {
        let open_metrics = "# HELP a_b How many.\n# TYPE a_b counter\na_b_total{x=\"y\"} 3\n\
                            # HELP c_bytes Size.\n# TYPE c_bytes gauge\n# UNIT c_bytes bytes\nc_bytes 7\n# EOF\n";
        let prometheus = "# HELP a_b_total How many.\n# TYPE a_b_total counter\na_b_total{x=\"y\"} 3\n\
                          # HELP c_bytes Size.\n# TYPE c_bytes gauge\nc_bytes 7\n";
        assert_eq!(to_prometheus(open_metrics), prometheus);
    }
}
