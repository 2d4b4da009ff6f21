//! Ratios and verdicts.

use std::time::Duration;

use super::super::arrivals::ENDS;
use super::*;

fn rounds(arrived: &[u64]) -> Vec<Round> {
    let took = Duration::from_secs(1);
    arrived.iter().map(|delivered| Round { sent: 1000, delivered: *delivered, took }).collect()
}

fn path(mode: &'static str, end: End, took_ms: &[u64]) -> Path {
    let round =
        |took: &u64| Round { sent: 1000, delivered: 1000, took: Duration::from_millis(*took) };
    Path { mode, counts: mode == "counters", end, rounds: took_ms.iter().map(round).collect() }
}

#[test]
fn a_ratio_is_of_two_rounds_that_both_count() {
    let ratio = ratio(&rounds(&[999, 0, 1000]), &rounds(&[999, 1000, 500])).unwrap();
    assert_eq!(ratio.samples, [1.0]);
    assert_eq!(super::ratio(&rounds(&[0]), &rounds(&[1000])), None);
}

#[test]
fn the_lower_end_is_judged() {
    let [sink, receiver] = ENDS;
    let paths = paths(&[
        path(BRIDGE, sink, &[80, 90]),
        path("counters", sink, &[100, 100]),
        path(BRIDGE, receiver, &[95, 95]),
        path("counters", receiver, &[100, 100]),
    ]);
    let figures = path_figures(&paths);
    assert_eq!(figures.len(), 1);
    assert!((figures[0].measured.unwrap() - 0.85).abs() < 1e-9);
    assert_eq!(figures[0].verdict, Some(Verdict::Met));
}

#[test]
fn a_path_that_no_round_counts_of_is_not_judged() {
    let [sink, receiver] = ENDS;
    let mut unknown = path("counters", receiver, &[100]);
    unknown.rounds[0].delivered = 0;
    let paths = paths(&[path(BRIDGE, sink, &[90]), path("counters", sink, &[100]), unknown]);
    assert_eq!(path_figures(&paths)[0].verdict, None);
    assert_eq!(paths[2].void_rounds, 1);
}

#[test]
fn targets_of_ports_are_for_their_number() {
    let ports = Ports { attach: vec![0.4], read: vec![0.004] };
    assert_eq!(port_figures(10, &ports).map(|figure| figure.verdict), [None, None]);
    assert_eq!(
        port_figures(TARGET_PORTS, &ports).map(|figure| figure.verdict),
        [Some(Verdict::Met), Some(Verdict::Stretch)]
    );
}
