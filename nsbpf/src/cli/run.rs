//! `nsbpf run`: a lab from up to down in one command.

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, bail};
use clap::Args;
use futures_util::FutureExt as _;
use tokio::task::{JoinError, spawn_blocking};

use super::counters::{Frame, ping_line};
use super::exit::{Unmet, Usage, broken_pipe};
use super::interrupt::Interrupt;
use super::log::OnStandardError;
use super::progress::Progress;
use super::say::{millis, say_down, size};
use super::screen::Screen;
use super::settings::SettingsArgs;
use super::verdict::verdicts;
use super::view::{Format, interval};
use super::{lab_file, privilege};
use crate::apply::{self, ApplyError, Converged, Opened};
use crate::datapath::KernelLog;
use crate::lab::{Lab, Name, Trial};
use crate::observe::expectations;
use crate::observe::pings::{Pair, PingReport, Pinger, Pingers, ring};
use crate::observe::reach::Reach;
use crate::observe::stats::Watch;
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
    #[command(flatten)]
    settings: SettingsArgs,
    /// Time from one table to the next
    #[arg(long, value_parser = interval, default_value = "1s")]
    interval: Duration,
    /// How to show the counters
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

impl Run {
    pub(super) fn run(self) -> anyhow::Result<()> {
        self.settings.check()?;
        let (lab, source) = match &self.lab {
            Some(file) => lab_file::read_with_source(file)?,
            None => (Lab::parse(QUICKSTART, "labs/quickstart.yaml")?, QUICKSTART.to_owned()),
        };
        let ingress = self.settings.ingress();
        if ingress.is_none() {
            let message = "`run` shows counters, which `--hook none` leaves out: use `up` instead";
            return Err(Usage(message.to_owned()).into());
        }
        self.settings.check_for(&lab)?;
        privilege::prepare_for(&Store::new(&lab.name), self.settings.hooks(&lab).as_ref())?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .context("start the async runtime")?;
        runtime.block_on(self.up_and_down(lab, &source))
    }

    /// Brings the lab up, shows it, and takes it down however that ended.
    async fn up_and_down(self, lab: Lab, source: &str) -> anyhow::Result<()> {
        let interrupt = Interrupt::listen().context("listen for signals")?;
        let store = Store::new(&lab.name);
        let lock = store.lock()?;
        lock.hold()?;
        if store.is_kept() {
            bail!(
                "the lab `{0}` is up and to stay so (`nsbpf up`): `run` would take it down. \
                 `nsbpf down {0}` does.",
                lab.name
            );
        }
        let mut screen = Screen::new(self.format);
        let lab = Arc::new(lab);
        // A panic is an outcome like others: what is up has to come down.
        let shown =
            AssertUnwindSafe(self.up_and_show(&lab, source, &store, interrupt, &mut screen))
                .catch_unwind()
                .await
                .unwrap_or_else(|_| Err(anyhow!("a bug in nsbpf: see the panic above")));
        // Also when it did not come up: what a killed run left goes too.
        let down = spawn_blocking(move || apply::take_down(&store)).await;
        let down = down
            .map_err(panicked)
            .and_then(|down| down.with_context(|| format!("take {} down", lab.name)));
        if let Ok(down) = &down {
            lock.retire();
            if shown.as_ref().err().is_none_or(|error| !error.is::<ApplyError>()) {
                let say = |line: &str| {
                    screen.say(line.to_owned());
                    anyhow::Ok(())
                };
                say_down(&lab.name, down, say)?;
            }
        }
        let written = screen.finish().await;
        // What failed first is what matters; a reader that went away does not.
        match shown {
            Err(error) if broken_pipe(&error) => down.and(Err(error)),
            shown => shown.and(down).and(written.map_err(Into::into)),
        }
    }

    async fn up_and_show(
        &self,
        lab: &Arc<Lab>,
        source: &str,
        store: &Store,
        mut interrupt: Interrupt,
        screen: &mut Screen,
    ) -> anyhow::Result<()> {
        let settings = self.settings.settings(store)?;
        let (flag, shared_lab, shared_store) = (interrupt.flag(), Arc::clone(lab), store.clone());
        let Converged { survey, steps: _, programs: _, offloading, policy, filtering, took } =
            spawn_blocking(move || {
                let progress = Progress::new(flag);
                apply::converge(&shared_store, &shared_lab, &settings, &progress)
            })
            .await
            .map_err(panicked)??;
        store.write_lab_source(source)?;
        let up_since = Instant::now();
        screen.say(format!("{} is up after {}: {}", lab.name, millis(took), size(lab)));
        if let Some(offloading) = offloading {
            screen.say(format!("{}: {offloading}", lab.name));
        }
        if let Some(policy) = policy {
            screen.say(format!("{}: {policy}", lab.name));
            for warning in &policy.warnings {
                screen.say(format!("warning: {}: {warning}", lab.name));
            }
        }
        for warning in filtering.warnings() {
            screen.say(format!("warning: {}: {warning}", lab.name));
        }
        let pingers = tokio::select! {
            pingers = start_pingers(lab, &survey.namespaces) => pingers?,
            () = interrupt.wished() => return Ok(()),
        };
        drop(survey.namespaces);
        let silent = say_pings(screen, &pingers.reports());
        let met = tokio::select! {
            met = meets_expectations(lab, store, screen) => met?,
            () = interrupt.wished() => return Ok(()),
        };
        if self.settings.logs() {
            // Ends with the runtime.
            tokio::spawn(KernelLog::open(store, &OnStandardError)?.forward());
        }
        let mut watch = Watch::new(store, &survey.state)?;
        let start = tokio::time::Instant::now();
        let mut ticker = tokio::time::interval_at(start, self.interval);
        // One that is too long to add is for ever.
        let end = self.duration.and_then(|duration| start.checked_add(duration));
        let mut ended = false;
        while !ended {
            tokio::select! {
                // A tick at the very end is one frame, not two.
                biased;
                () = interrupt.wished() => ended = true,
                error = screen.failed() => {
                    return Err(anyhow::Error::from(error).context("write to standard output"));
                }
                () = sleep_until(end) => ended = true,
                _ = ticker.tick() => {}
            }
            let interfaces = watch.read()?;
            let (lab, elapsed) = (lab.name.to_string(), Some(up_since.elapsed()));
            let pings = pingers.reports();
            screen.show(Frame { lab, elapsed, detail: false, interfaces, pings });
        }
        // What a lab expects decides; pings do where it expects nothing.
        if !met {
            return Err(Unmet.into());
        }
        if silent.is_empty() || !lab.expect.is_empty() {
            return Ok(());
        }
        bail!("no reply of {}", silent.join(", "))
    }
}

/// Says what came of the first pings; returns those that nobody answered.
fn say_pings(screen: &Screen, reports: &[PingReport]) -> Vec<String> {
    let mut silent = Vec::new();
    for report in reports {
        screen.say(ping_line(report));
        if report.received == 0 {
            silent.push(format!("{} from {}", report.target, report.from));
        }
    }
    if !silent.is_empty() {
        screen.say("no reply: does a firewall on this host drop it? See `nsbpf doctor`".to_owned());
    }
    silent
}

/// Tries what the lab expects and says what came of it; returns whether all is
/// so.
async fn meets_expectations(lab: &Lab, store: &Store, screen: &Screen) -> anyhow::Result<bool> {
    if lab.expect.is_empty() {
        return Ok(true);
    }
    let reports = expectations::check(&Reach::open(store, lab)?, lab, |_, _| {}).await?;
    // As one piece: lines beyond those that wait for a reader would be left out.
    screen.say(verdicts(&reports).trim_end().to_owned());
    Ok(reports.iter().all(|report| report.met))
}

async fn sleep_until(end: Option<tokio::time::Instant>) {
    match end {
        Some(end) => tokio::time::sleep_until(end).await,
        None => std::future::pending().await,
    }
}

fn is_to_be_silent(lab: &Lab, pair: &Pair) -> bool {
    let Pair { from, to, target } = pair.clone();
    expectations::expects_silence(lab, &Trial { from, to: Some(to), address: target })
}

/// Pings every pair once, at the same time, and goes on in the background.
async fn start_pingers(lab: &Lab, namespaces: &BTreeMap<Name, Opened>) -> anyhow::Result<Pingers> {
    let mut pingers = Vec::new();
    let pairs = ring(lab).into_iter().filter(|pair| !is_to_be_silent(lab, pair));
    for (number, pair) in (1..).zip(pairs.take(MAX_PINGS)) {
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
    anyhow!("a bug in nsbpf: {panic}")
}
