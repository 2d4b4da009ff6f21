//! `nsbpf policy show`: rules, and what they counted.

use std::fmt::Write as _;
use std::time::Duration;

use clap::Args;
use comfy_table::{CellAlignment, ContentArrangement, Table, presets};
use serde::Serialize;

use super::look;
use crate::cli::quantity::{bytes, duration};
use crate::cli::say::say;
use crate::cli::view::Format;
use crate::lab::Name;
use crate::observe::policy::{self, EventsReport, Hits, PolicyReport, RuleReport};
use crate::store::Store;

#[derive(Debug, Args)]
pub(super) struct Show {
    /// The lab, by its name
    #[arg(value_parser = Name::new)]
    lab: Name,
    /// How to show it
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

#[derive(Serialize)]
struct Shown {
    lab: String,
    policy: Option<PolicyReport>,
}

impl Show {
    pub(super) fn run(self) -> anyhow::Result<()> {
        let Self { lab, format } = self;
        let store = Store::new(&lab);
        let (_, datapath) = look(&lab, &store)?;
        let policy = policy::report(&store, &datapath)?;
        let text = match (format, policy) {
            (Format::Json, policy) => {
                serde_json::to_string(&Shown { lab: lab.to_string(), policy })?
            }
            (Format::Table, None) => format!("{lab} has no policy: every packet passes"),
            (Format::Table, Some(policy)) => text(&lab, &policy),
        };
        Ok(say(&text)?)
    }
}

fn text(lab: &Name, policy: &PolicyReport) -> String {
    let PolicyReport { generation, established, default, rules, events, memory_bytes } = policy;
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_content_arrangement(ContentArrangement::Disabled);
    table.set_header([
        "",
        "RULE",
        "PACKETS FROM, TO AND OF",
        "ACTION",
        "LOG",
        "PACKETS",
        "BYTES",
        "LAST",
    ]);
    for RuleReport { number, name, matches, action, log, hits } in rules {
        let log = match log {
            None => String::new(),
            Some(0 | 1) => "all".to_owned(),
            Some(number) => format!("1 of {number}"),
        };
        let [packets, bytes, last] = hit(hits);
        table.add_row([
            number.to_string(),
            name.clone(),
            matches.clone(),
            action.clone(),
            log,
            packets,
            bytes,
            last,
        ]);
    }
    let [packets, bytes_of_default, last] = hit(&default.hits);
    let action = default.action.clone();
    let (none, all_else) = (String::new(), "all else".to_owned());
    let name = "(default)".to_owned();
    table.add_row([none.clone(), name, all_else, action, none, packets, bytes_of_default, last]);
    for (place, column) in table.column_iter_mut().enumerate() {
        if matches!(place, 0 | 5..) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    let mut text = table.trim_fmt();
    let replies = if *established { "allowed" } else { "judged as any packet" };
    // Writing to a string does not fail.
    let _ = write!(
        text,
        "\n\n{lab}: policy {generation}, replies to what was allowed are {replies}; {} in the kernel",
        bytes(*memory_bytes)
    );
    for (count, what) in told(*events).into_iter().filter(|(count, _)| *count > 0) {
        let _ = write!(text, "\n{count} {what}");
    }
    text
}

fn hit(hits: &Hits) -> [String; 3] {
    let Hits { total, last_hit_seconds_ago } = hits;
    let ago = last_hit_seconds_ago.map(|seconds| {
        format!("{} ago", duration(Duration::try_from_secs_f64(seconds).unwrap_or_default()))
    });
    [total.packets.to_string(), bytes(total.bytes), ago.unwrap_or_else(|| "–".to_owned())]
}

fn told(events: EventsReport) -> [(u64, &'static str); 5] {
    let EventsReport { answered, unanswered, headless, unlogged, lost } = events;
    [
        (answered, "rejected packets were answered"),
        (unanswered, "rejected packets were not answered: too many, or of a kind with no answer"),
        (headless, "fragments passed that came before the head of their packet"),
        (unlogged, "packets were not logged: too many in a short time"),
        (lost, "packets were not logged: nobody read what waits there (`nsbpf policy log`)"),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::policy::DefaultReport;
    use crate::observe::stats::Tally;

    #[test]
    fn each_rule_is_a_line_and_what_went_wrong_is_told() {
        let hits =
            Hits { total: Tally { packets: 3, bytes: 1800 }, last_hit_seconds_ago: Some(2.0) };
        let rule = RuleReport {
            number: 1,
            name: "web".to_owned(),
            matches: "to web proto tcp ports 80".to_owned(),
            action: "allow".to_owned(),
            log: Some(10),
            hits,
        };
        let default = DefaultReport { action: "deny".to_owned(), hits: Hits::default() };
        let events = EventsReport { headless: 7, ..EventsReport::default() };
        let policy = PolicyReport {
            generation: 4,
            established: true,
            default,
            rules: vec![rule],
            events,
            memory_bytes: 1_000_000,
        };
        let text = text(&Name::new("lab").unwrap(), &policy);
        let lines: Vec<String> = text
            .lines()
            .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
            .collect();
        assert_eq!(lines[1], "1 web to web proto tcp ports 80 allow 1 of 10 3 1.8 kB 2s ago");
        assert_eq!(lines[2], "(default) all else deny 0 0 B –");
        assert!(
            text.contains("policy 4, replies to what was allowed are allowed; 1.0 MB"),
            "{text}"
        );
        assert!(text.ends_with("7 fragments passed that came before the head of their packet"));
    }
}
