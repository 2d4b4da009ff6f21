//! `nsbpf run`: a lab from up to down in one command.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use clap::Args;
use tokio::task::{JoinError, spawn_blocking};

use super::exit::broken_pipe;
use super::interrupt::Interrupt;
use super::view::{Format, Frame, View, ping_line};
use super::{lab_file, privilege};
use crate::apply::{self, Converged, Opened, TakenDown};
use crate::datapath::{KernelLog, OBJECT_DIGEST};
use crate::lab::{Lab, Name};
use crate::observe::pings::{Pinger, Pingers, ring};
use crate::observe::stats::Watch;
use crate::plan::Settings;
use crate::state::IngressHook;
use crate::store::Store;

/// The lab that runs when none is named.
const QUICKSTART: &str = include_str!("../../../labs/quickstart.yaml");
/// Pairs that ping during a run at most; the rest of a large lab is quiet.
const MAX_PINGS: usize = 8;
/// How long the first reply may take: the bridge learns, neighbours resolve.
const FIRST_PATIENCE: Duration = Duration::from_secs(3);
/// How long later replies may take.
const PATIENCE: Duration = Duration::from_secs(1);

#[derive(Debug, Args)]
pub(super) struct Run {
    /// The lab, a YAML file [default: two namespaces on a bridge]
    lab: Option<PathBuf>,
    /// Take the lab down after this time, such as 10s or 5m [default: on Ctrl-C]
    #[arg(long, value_parser = humantime::parse_duration)]
    duration: Option<Duration>,
    /// Where packets from a namespace are counted
    #[arg(long, value_enum, default_value_t)]
    hook: HookArg,
    /// Time from one table to the next
    #[arg(long, value_parser = interval, default_value = "1s")]
    interval: Duration,
    /// How to show the counters
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
enum HookArg {
    /// At tc ingress
    #[default]
    Tc,
    /// At native XDP
    Xdp,
}

impl From<HookArg> for IngressHook {
    fn from(hook: HookArg) -> Self {
        match hook {
            HookArg::Tc => Self::Tc,
            HookArg::Xdp => Self::Xdp,
        }
    }
}

fn interval(text: &str) -> Result<Duration, String> {
    let interval = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    if interval < Duration::from_millis(10) {
        return Err("at least 10ms".to_owned());
    }
    Ok(interval)
}

impl Run {
    pub(super) fn run(self) -> anyhow::Result<()> {
        let lab = match &self.lab {
            Some(file) => lab_file::read(file)?,
            None => Lab::parse(QUICKSTART, "labs/quickstart.yaml")?,
        };
        privilege::check(self.hook == HookArg::Xdp)?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .context("start the async runtime")?;
        runtime.block_on(self.up_and_down(lab))
    }

    /// Brings the lab up, shows it, and takes it down however that ended.
    async fn up_and_down(self, lab: Lab) -> anyhow::Result<()> {
        let mut interrupt = Interrupt::listen().context("listen for signals")?;
        let store = Store::new(&lab.name);
        let lock = store.lock()?;
        let lab = Arc::new(lab);
        let settings = Settings {
            ingress: self.hook.into(),
            object: OBJECT_DIGEST.to_owned(),
            log: log::log_enabled!(log::Level::Debug),
        };
        let up = {
            let (store, lab, cancel) = (store.clone(), Arc::clone(&lab), interrupt.flag());
            spawn_blocking(move || apply::converge(&store, &lab, &settings, &cancel)).await
        };
        let mut view = View::new(self.format);
        let shown = match up {
            Ok(Ok(converged)) => {
                let (store, lab) = (store.clone(), Arc::clone(&lab));
                // A task of its own, so that a panic is an outcome like others.
                let shown = tokio::spawn(async move {
                    self.show(&lab, &store, converged, &mut interrupt).await
                });
                shown.await.map_err(panicked).flatten()
            }
            Ok(Err(error)) => {
                lock.retire();
                return Err(error.into());
            }
            Err(panic) => Err(panicked(panic)),
        };
        let down = spawn_blocking(move || apply::take_down(&store)).await;
        let down = down
            .map_err(panicked)
            .and_then(|down| down.with_context(|| format!("take {} down", lab.name)))
            .and_then(|down| Ok(say_down(&mut view, &lab, &down)?));
        if down.is_ok() {
            lock.retire();
        }
        // What failed first is what matters; a reader that went away does not.
        match shown {
            Err(error) if broken_pipe(&error) => down.and(Err(error)),
            shown => shown.and(down),
        }
    }

    async fn show(
        &self,
        lab: &Lab,
        store: &Store,
        converged: Converged,
        interrupt: &mut Interrupt,
    ) -> anyhow::Result<()> {
        let Converged { survey, steps: _, took } = converged;
        let up_since = Instant::now();
        let mut view = View::new(self.format);
        view.say(&format!("{} is up after {}: {}", lab.name, millis(took), size(lab)))?;
        if log::log_enabled!(log::Level::Debug) {
            // Ends with the runtime.
            tokio::spawn(KernelLog::open(store)?.forward());
        }
        let pingers = start_pingers(lab, &survey.namespaces).await?;
        drop(survey.namespaces);
        let mut silent = Vec::new();
        for report in pingers.reports() {
            view.say(&ping_line(&report))?;
            if report.received == 0 {
                silent.push(format!("{} from {}", report.target, report.from));
            }
        }
        let mut watch = Watch::new(store, &survey.state)?;
        let start = tokio::time::Instant::now();
        let mut ticker = tokio::time::interval_at(start, self.interval);
        let end = self.duration.map(|duration| start + duration);
        let mut ended = false;
        while !ended {
            tokio::select! {
                // A tick at the very end is one frame, not two.
                biased;
                () = interrupt.wished() => ended = true,
                () = sleep_until(end) => ended = true,
                _ = ticker.tick() => {}
            }
            let interfaces = watch.read()?;
            let (lab, elapsed) = (lab.name.as_str(), up_since.elapsed());
            view.show(&Frame { lab, elapsed, interfaces, pings: pingers.reports() })?;
        }
        if !silent.is_empty() {
            bail!(
                "no reply of {}: does a firewall on this host drop what crosses the bridge \
                 (`sysctl net.bridge.bridge-nf-call-iptables`, `iptables -L FORWARD`)?",
                silent.join(", ")
            );
        }
        Ok(())
    }
}

async fn sleep_until(end: Option<tokio::time::Instant>) {
    match end {
        Some(end) => tokio::time::sleep_until(end).await,
        None => std::future::pending().await,
    }
}

/// Pings every pair once, at the same time, and goes on in the background.
async fn start_pingers(lab: &Lab, namespaces: &HashMap<Name, Opened>) -> anyhow::Result<Pingers> {
    let mut pingers = Vec::new();
    for (number, pair) in (1..).zip(ring(lab).into_iter().take(MAX_PINGS)) {
        let from = &pair.from;
        let opened =
            namespaces.get(from).with_context(|| format!("namespace {from} is not open"))?;
        let context = format!("ping from {from}");
        pingers.push(Pinger::new(pair, &opened.netns, number).context(context)?);
    }
    let started = spawn_blocking(move || Pingers::start(pingers, FIRST_PATIENCE, PATIENCE));
    Ok(started.await.map_err(panicked)??)
}

#[expect(clippy::needless_pass_by_value, reason = "it is what `map_err` gives")]
fn panicked(panic: JoinError) -> anyhow::Error {
    anyhow::anyhow!("a bug in nsbpf: {panic}. Everything was taken down.")
}

fn say_down(view: &mut View, lab: &Lab, down: &TakenDown) -> std::io::Result<()> {
    let TakenDown { objects: _, took, lingering } = down;
    if lingering.is_empty() {
        let text = format!("{} is down after {}: nothing of it is left", lab.name, millis(*took));
        return view.say(&text);
    }
    view.say(&format!("{} is down after {}", lab.name, millis(*took)))?;
    lingering.iter().try_for_each(|lingering| view.say(&format!("warning: {lingering}")))
}

fn millis(time: Duration) -> String {
    format!("{} ms", time.as_millis())
}

fn size(lab: &Lab) -> String {
    let count = |number: usize, what: &str| {
        format!("{number} {what}{}", if number == 1 { "" } else { "s" })
    };
    [
        count(lab.namespaces.len(), "namespace"),
        count(lab.interfaces().count(), "interface"),
        count(lab.bridges.len(), "bridge"),
    ]
    .join(", ")
}
