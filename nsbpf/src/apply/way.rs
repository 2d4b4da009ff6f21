//! By which way programs get to tc hooks: wished for, or found out.
//!
//! TCX is what is taken where there is a choice: a packet passes its two hooks for
//! a tenth of what the bridge costs, and those of clsact for a fifth. But each attach,
//! and the end of each port, waits for an RCU grace period with it: where those cannot
//! be hurried, clsact is taken. What the kernel has is tried in a namespace that goes away; its version would
//! not tell, for distributions take over what they need and leave out what they want.

use super::expedite;
use crate::datapath;
use crate::net::{NetNs, Netlink, features};
use crate::state::Attach;
use crate::store::Store;

/// How programs are to be attached to tc hooks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Wish {
    /// As the kernel can: the way that a packet passes faster.
    #[default]
    Any,
    /// In that way and no other.
    Only(Attach),
}

/// The kernel has no such way.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoWay {
    /// None at all.
    #[error(
        "this kernel attaches no program to a tc hook, neither by clsact ({clsact}) nor by TCX ({tcx}). It needs CONFIG_NET_SCH_INGRESS and CONFIG_NET_CLS_BPF (`modprobe sch_ingress cls_bpf`), or Linux 6.6 with CONFIG_NET_XGRESS; or count nothing (`--hook none`)."
    )]
    Neither {
        /// What came of trying clsact.
        clsact: String,
        /// What came of trying TCX.
        tcx: String,
    },
    /// Not the one that was wished for.
    #[error(
        "this kernel attaches no program by clsact ({0}). It needs CONFIG_NET_SCH_INGRESS and CONFIG_NET_CLS_BPF (`modprobe sch_ingress cls_bpf`); or leave `--attach` away."
    )]
    Clsact(String),
    /// Likewise.
    #[error(
        "this kernel attaches no program by TCX ({0}). It needs Linux 6.6 with CONFIG_NET_XGRESS; or leave `--attach` away."
    )]
    Tcx(String),
    /// There is no namespace to try it in.
    #[error("make a network namespace, to try there how programs are attached: {0}")]
    NotTried(String),
}

/// What came of trying each.
struct Tried {
    clsact: Result<(), String>,
    tcx: Result<(), String>,
}

/// Finds the way for a lab. One that the lab's programs are attached by already, and
/// that is wished for, is not tried again.
pub fn choose_way(store: &Store, wish: Wish) -> Result<Attach, NoWay> {
    let loaded = datapath::observe(store).map(|(datapath, _)| datapath.attach);
    match (wish, loaded) {
        // To move is not worth what a move costs.
        (Wish::Any, Some(loaded)) => return Ok(loaded),
        (Wish::Only(way), Some(loaded)) if way == loaded => return Ok(way),
        _ => {}
    }
    let tried = NetNs::scratch(look).map_err(|error| NoWay::NotTried(error.to_string()))?;
    choose(wish, tried, expedite::is_possible())
}

/// Tries both, in a namespace where that harms nobody.
fn look() -> Tried {
    let clsact = Netlink::open().and_then(|mut netlink| features::clsact(&mut netlink));
    Tried {
        clsact: clsact.map_err(|error| error.to_string()),
        tcx: datapath::probe_tcx().map_err(|error| error.to_string()),
    }
}

fn choose(wish: Wish, tried: Tried, hurried: bool) -> Result<Attach, NoWay> {
    let Tried { clsact, tcx } = tried;
    match wish {
        Wish::Only(Attach::Clsact) => clsact.map(|()| Attach::Clsact).map_err(NoWay::Clsact),
        Wish::Only(Attach::Tcx) => tcx.map(|()| Attach::Tcx).map_err(NoWay::Tcx),
        Wish::Any => match (clsact, tcx) {
            (_, Ok(())) if hurried => Ok(Attach::Tcx),
            (Ok(()), _) => Ok(Attach::Clsact),
            (Err(_), Ok(())) => Ok(Attach::Tcx),
            (Err(clsact), Err(tcx)) => Err(NoWay::Neither { clsact, tcx }),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_faster_way_is_taken_where_it_can_be_hurried() {
        const CLSACT: Attach = Attach::Clsact;
        const TCX: Attach = Attach::Tcx;
        let answer = |wish, has: &[Attach]| {
            let tried = |way, why: &str| {
                if has.contains(&way) { Ok(()) } else { Err(why.to_owned()) }
            };
            choose(wish, Tried { clsact: tried(CLSACT, "no a"), tcx: tried(TCX, "no b") }, false)
        };
        let hurried = Tried { clsact: Ok(()), tcx: Ok(()) };
        assert_eq!(choose(Wish::Any, hurried, true), Ok(TCX));
        let without_tcx = Tried { clsact: Ok(()), tcx: Err(String::new()) };
        assert_eq!(choose(Wish::Any, without_tcx, true), Ok(CLSACT));
        let any = Wish::Any;
        assert_eq!(answer(any, &[CLSACT, TCX]), Ok(CLSACT));
        assert_eq!(answer(any, &[CLSACT]), Ok(CLSACT));
        assert_eq!(answer(any, &[TCX]), Ok(TCX));
        let neither = answer(any, &[]).unwrap_err().to_string();
        assert!(neither.contains("no a") && neither.contains("no b"), "{neither}");
        assert_eq!(answer(Wish::Only(TCX), &[CLSACT, TCX]), Ok(TCX));
        assert_eq!(answer(Wish::Only(TCX), &[CLSACT]), Err(NoWay::Tcx("no b".to_owned())));
        assert_eq!(answer(Wish::Only(CLSACT), &[TCX]), Err(NoWay::Clsact("no a".to_owned())));
    }
}
