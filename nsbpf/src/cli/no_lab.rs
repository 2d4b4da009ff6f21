//! A lab that is not there: which one may have been meant.

use anyhow::anyhow;

use crate::lab::{Name, nearest};
use crate::store::Store;

/// Says that there is no such lab, and which ones there are.
pub(super) fn no_lab(lab: &Name) -> anyhow::Error {
    let labs = match Store::labs() {
        Ok(labs) => labs,
        Err(error) => return error.into(),
    };
    // What is left of an unfinished one is no lab.
    let others = labs.iter().filter(|other| *other != lab);
    let help = nearest(lab.as_str(), others.map(Name::as_str));
    let help = help.unwrap_or_else(|| "no lab is up".to_owned());
    anyhow!("there is no lab `{lab}`: {help}")
}
