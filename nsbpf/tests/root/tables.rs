//! The table of a lab's uplinks, as `nft` shows and changes it.

use std::process::Command;

use libtest_mimic::Failed;
use nsbpf::net::NetNs;
use nsbpf::net::nftables::{self, Found, Table, TableError};

use crate::{Test, uplink};

pub(crate) const TESTS: &[Test] = &[
    ("tables::one_is_what_nft_shows", shown),
    ("tables::one_that_others_changed_is_noticed", drift),
    ("tables::one_of_others_stays", foreign),
    ("tables::a_busy_rule_set", busy),
    ("tables::many_subnets", many),
];

/// Why a test of tables, or of what they do to packets, cannot run here.
pub(crate) fn why_not(name: &str) -> Option<&'static str> {
    let is_ours = TESTS.iter().chain(uplink::TESTS).any(|(ours, _)| *ours == name);
    let has_nft = || Command::new("nft").arg("-V").output().is_ok_and(|nft| nft.status.success());
    (is_ours && !has_nft()).then_some("needs nftables")
}

/// Runs `nft` and returns what it prints.
#[track_caller]
pub(crate) fn nft(arguments: &[&str]) -> String {
    let output = Command::new("nft").args(arguments).output().expect("start nft");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "nft {}: {said}", arguments.join(" "));
    String::from_utf8(output.stdout).expect("nft prints UTF-8")
}

pub(crate) fn uplinks<'a>(lab: &str, uplinks: &[(&'a str, &'a [&str])]) -> Table {
    let subnets = |texts: &[&str]| -> Vec<_> {
        texts.iter().map(|text| text.parse().expect("a subnet")).collect()
    };
    Table::new(lab, uplinks.iter().map(|(bridge, texts)| (*bridge, subnets(texts))))
}

pub(crate) const FIRST: (&str, &[&str]) = ("br1", &["10.1.0.0/24", "fd01::/64"]);
pub(crate) const SECOND: (&str, &[&str]) = ("br2", &["10.2.0.0/24", "fd02::/64"]);

#[track_caller]
pub(crate) fn the_only() -> Found {
    let found: [Found; 1] = nftables::list().expect("list tables").try_into().expect("one table");
    let [found] = found;
    found
}

const SHOWN: &str = r#"table inet nsbpf-shown {
	comment "nsbpf:shown"
	chain forward {
		type filter hook forward priority filter; policy accept;
		iifname "br1" accept
		iifname "fifteen-letters" accept
		oifname "br1" ct state established,related accept
		oifname "br1" counter packets 0 bytes 0 drop
		oifname "fifteen-letters" ct state established,related accept
		oifname "fifteen-letters" counter packets 0 bytes 0 drop
	}

	chain postrouting {
		type nat hook postrouting priority srcnat; policy accept;
		ip saddr 10.1.0.0/24 oifname != "br1" masquerade
		ip6 saddr fd01::/64 oifname != "br1" masquerade
		ip saddr 10.5.0.7 oifname != "fifteen-letters" masquerade
		ip saddr 10.6.4.0/22 oifname != "fifteen-letters" masquerade
	}
}
"#;

fn shown() -> Result<(), Failed> {
    assert_eq!(nftables::list()?, []);
    // Addresses of hosts are as good as those of networks.
    let second: (&str, &[&str]) = ("fifteen-letters", &["10.5.0.7/32", "10.6.5.1/22"]);
    let table = uplinks("shown", &[("br1", &["10.1.0.9/24", "fd01::9/64"]), second]);
    for _ in 0..2 {
        nftables::set(&table)?;
        assert_eq!(nft(&["list", "ruleset"]), SHOWN);
        assert!(the_only().is(&table), "{:?}", the_only());
        assert!(the_only().is_ours());
    }
    // Another content takes its place, and nothing of the old one stays.
    let other = uplinks("shown", &[("br2", &["10.2.0.0/24"])]);
    assert!(!the_only().is(&other));
    nftables::set(&other)?;
    assert!(the_only().is(&other) && !the_only().is(&table));
    assert!(!nft(&["list", "ruleset"]).contains("br1"));
    // A table whose bridges have no subnets, and one without bridges.
    for uplinks in [uplinks("shown", &[("br3", &[])]), uplinks("shown", &[])] {
        nftables::set(&uplinks)?;
        assert!(the_only().is(&uplinks), "{:?}", the_only());
    }
    for _ in 0..2 {
        nftables::delete("nsbpf-shown")?;
        assert_eq!(nft(&["list", "ruleset"]), "");
    }
    assert_eq!(nftables::list()?, []);
    Ok(())
}

/// A command of `nft`, and what stands behind the table.
type Change<'a> = (&'a str, Box<dyn Fn() -> Vec<String> + 'a>);

fn drift() -> Result<(), Failed> {
    const OF: [&str; 2] = ["inet", "nsbpf-drift"];
    let table = uplinks("drift", &[FIRST, SECOND]);
    let handle = |rule: &str| {
        let listed = nft(&["-a", "list", "table", OF[0], OF[1]]);
        let line = listed.lines().find(|line| line.contains(rule)).expect("that rule").to_owned();
        line.rsplit(' ').next().expect("a handle").to_owned()
    };
    let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
    let changes: [Change<'_>; 8] = [
        ("flush chain", Box::new(|| words("forward"))),
        ("flush chain", Box::new(|| words("postrouting"))),
        ("add rule", Box::new(|| words("forward oifname br7 accept"))),
        ("add chain", Box::new(|| words("more"))),
        ("delete rule", Box::new(|| words(&format!("forward handle {}", handle("drop"))))),
        (
            "replace rule",
            Box::new(|| {
                let handle = handle("ip saddr 10.1.0.0/24");
                words(&format!("postrouting handle {handle} ip saddr 10.1.0.0/16 masquerade"))
            }),
        ),
        (
            "replace rule",
            Box::new(|| words(&format!("forward handle {} oifname br1 accept", handle("drop")))),
        ),
        ("add table", Box::new(|| words("{ flags dormant ; }"))),
    ];
    for (verb, what) in changes {
        nftables::set(&table)?;
        assert!(the_only().is(&table));
        let what = what();
        let mut arguments: Vec<&str> = verb.split(' ').chain(OF).collect();
        arguments.extend(what.iter().map(String::as_str));
        nft(&arguments);
        let found = the_only();
        assert!(!found.is(&table), "{}", arguments.join(" "));
        assert!(!found.intact || found.uplinks != table.uplinks);
        assert!(found.is_ours(), "it is still to be taken away");
    }
    nftables::set(&table)?;
    assert!(the_only().is(&table));
    nftables::delete(&table.name)?;
    assert_eq!(nft(&["list", "ruleset"]), "");
    Ok(())
}

fn foreign() -> Result<(), Failed> {
    let table = uplinks("foreign", &[FIRST]);
    // Neither the name alone nor another's comment makes it ours.
    for (add, mark) in [
        ("add table inet nsbpf-foreign", None),
        ("add table inet nsbpf-foreign { comment \"mine\" ; }", Some("mine")),
    ] {
        nft(&[add]);
        let before = nft(&["list", "ruleset"]);
        let found = the_only();
        assert!(!found.is_ours() && found.mark.as_deref() == mark, "{found:?}");
        let taken = |error| matches!(error, TableError::Foreign(name) if name == "nsbpf-foreign");
        assert!(nftables::set(&table).is_err_and(taken));
        assert!(nftables::delete(&table.name).is_err_and(taken));
        assert_eq!(nft(&["list", "ruleset"]), before);
        nft(&["delete", "table", "inet", "nsbpf-foreign"]);
    }
    // One of another family, or of another name, is no matter.
    nft(&["add", "table", "ip", "nsbpf-foreign"]);
    nft(&["add", "table", "inet", "mine"]);
    let before = nft(&["list", "ruleset"]);
    assert_eq!(nftables::list()?, []);
    nftables::set(&table)?;
    assert!(the_only().is(&table));
    nftables::delete(&table.name)?;
    assert_eq!(nft(&["list", "ruleset"]), before);
    // One of ours under another name is seen, so that it can be taken away.
    nft(&["add table inet renamed { comment \"nsbpf:lost\" ; }"]);
    assert!(the_only().is_ours());
    nftables::delete("renamed")?;
    assert_eq!(nft(&["list", "ruleset"]), before);
    Ok(())
}

/// Others change rules all the while.
fn busy() -> Result<(), Failed> {
    let table = uplinks("busy", &[FIRST, SECOND]);
    let others = NetNs::current()?;
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        let other = scope.spawn(|| {
            others.run(|| {
                let mut rounds = 0;
                while !done.load(std::sync::atomic::Ordering::Relaxed) {
                    nft(&["add table inet other; delete table inet other"]);
                    rounds += 1;
                }
                rounds
            })
        });
        let result = (0..50).try_for_each(|_| {
            nftables::set(&table)?;
            assert!(the_only().is(&table));
            nftables::delete(&table.name)
        });
        done.store(true, std::sync::atomic::Ordering::Relaxed);
        let rounds = other.join().expect("the other thread")?;
        result?;
        assert!(rounds > 1, "nobody else changed anything");
        Ok::<(), Failed>(())
    })?;
    assert_eq!(nft(&["list", "ruleset"]), "");
    Ok(())
}

/// More than one datagram of answers.
fn many() -> Result<(), Failed> {
    let texts: Vec<String> = (0..300).map(|n| format!("10.{}.{}.0/24", n / 256, n % 256)).collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let table = uplinks("many", &[("br1", &texts)]);
    nftables::set(&table)?;
    assert!(the_only().is(&table));
    assert_eq!(nft(&["list", "ruleset"]).matches("masquerade").count(), 300);
    nftables::delete(&table.name)?;
    Ok(())
}
