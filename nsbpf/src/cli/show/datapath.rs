//! The programs of a lab as a person reads them.

use comfy_table::{CellAlignment, ContentArrangement, Table, presets};

use crate::observe::datapath::{DatapathReport, HookReport, MapReport, OtherReport, ProgramReport};

const NOT_MEASURED: &str = "Times are told once the kernel measures: for a second with `--measure`, \
    or all the time with `sysctl -w kernel.bpf_stats_enabled=1`.";

pub(super) fn text(report: &DatapathReport) -> String {
    let DatapathReport { lab, logs, hooks, programs, maps } = report;
    let logs = if *logs { ", which log (`nsbpf log`)" } else { "" };
    let mut text = format!("{lab}: programs{logs}\n\n");
    let rows = hooks.iter().map(|hook| {
        let HookReport { interface, device, namespace, point, way, program, before, after } = hook;
        let place = namespace.as_deref().unwrap_or("host");
        let program = program.map_or_else(|| "–".to_owned(), |id| id.to_string());
        let shown = [interface, device, place, point, way, &program];
        let around = [others(before), others(after)];
        shown.into_iter().map(ToString::to_string).chain(around).collect()
    });
    let header = [
        "INTERFACE",
        "DEVICE",
        "PLACE",
        "HOOK",
        "WAY",
        "PROGRAM",
        "RUNS BEFORE",
        "ARRIVED AFTER US: RUNS AFTER",
    ];
    text += &table(&header, &[5], rows);
    let rows = programs.iter().map(|program| {
        let ProgramReport { name, id, .. } = program;
        let instructions = program.verified_instructions;
        vec![
            name.clone(),
            id.to_string(),
            instructions.map_or_else(|| "–".to_owned(), |count| count.to_string()),
            program.ns_per_packet.map_or_else(|| "–".to_owned(), |ns| format!("{ns:.1}")),
            program.measured_packets.to_string(),
            program.jitted_bytes.to_string(),
            program.memory_bytes.to_string(),
        ]
    });
    let header = ["PROGRAM", "ID", "VERIFIED", "NS/PACKET", "MEASURED", "JITTED B", "MEMORY B"];
    text += &table(&header, &[1, 2, 3, 4, 5, 6], rows);
    let rows = maps.iter().map(|map| {
        let MapReport { name, id, kind, key_bytes, value_bytes, max_entries, entries, .. } = map;
        vec![
            name.clone(),
            id.to_string(),
            kind.clone(),
            format!("{key_bytes}/{value_bytes}"),
            entries.map_or_else(|| "all".to_owned(), |entries| entries.to_string()),
            max_entries.to_string(),
            map.memory_bytes.to_string(),
        ]
    });
    let header = ["MAP", "ID", "KIND", "KEY/VALUE B", "ENTRIES", "OF", "MEMORY B"];
    text += &table(&header, &[1, 3, 4, 5, 6], rows);
    if programs.iter().all(|program| program.measured_packets == 0) {
        text += NOT_MEASURED;
    }
    text.trim_end().to_owned()
}

fn table(header: &[&str], numbers: &[usize], rows: impl Iterator<Item = Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(header);
    for row in rows {
        table.add_row(row);
    }
    for (index, column) in table.column_iter_mut().enumerate() {
        if numbers.contains(&index) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    format!("{}\n\n", table.trim_fmt())
}

/// `tcx cil_from_container (id 7), clsact flower (priority 10)`
fn others(others: &[OtherReport]) -> String {
    let one = |other: &OtherReport| {
        let OtherReport { way, kind, name, program, priority } = other;
        let name = if name.is_empty() { kind } else { name };
        let id = program.map(|id| format!("id {id}"));
        let priority = priority.map(|priority| format!("priority {priority}"));
        let numbers: Vec<String> = id.into_iter().chain(priority).collect();
        format!("{way} {name} ({})", numbers.join(", "))
    };
    if others.is_empty() {
        return "–".to_owned();
    }
    others.iter().map(one).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_and_filters_of_others_are_named() {
        let program = OtherReport {
            way: "tcx",
            kind: "bpf".to_owned(),
            name: "theirs".to_owned(),
            program: Some(7),
            priority: None,
        };
        let filter = OtherReport {
            way: "clsact",
            kind: "flower".to_owned(),
            name: String::new(),
            program: None,
            priority: Some(10),
        };
        assert_eq!(others(&[program, filter]), "tcx theirs (id 7), clsact flower (priority 10)");
        assert_eq!(others(&[]), "–");
    }
}
