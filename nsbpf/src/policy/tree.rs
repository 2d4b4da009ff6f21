//! Trees that cut the space of all packets until few conditions are left in each part:
//! see [`nsbpf_common::policy`].

use nsbpf_common::policy::{
    Condition, FIELDS, LEAF, MAX_DEPTH, MAX_LEAF, NONE, Node, RARE_FIELDS, Rare, field,
};

/// Fields of all kinds.
const ALL_FIELDS: usize = FIELDS + RARE_FIELDS;
/// Conditions that are as well looked through as told apart: one part of a list.
const FEW: usize = Node::PART;

/// A condition, as a box in all dimensions.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wide {
    pub(super) lows: [u64; ALL_FIELDS],
    pub(super) highs: [u64; ALL_FIELDS],
    /// TCP flags that it looks at, and what those have to be: they are no dimension.
    flags: (u8, u8),
}

impl Wide {
    pub(super) fn new(condition: &Condition, rare: Option<&Rare>) -> Self {
        let (mut lows, mut highs) = ([0; ALL_FIELDS], [u64::MAX; ALL_FIELDS]);
        lows[..FIELDS].copy_from_slice(&condition.lows);
        highs[..FIELDS].copy_from_slice(&condition.highs);
        if let Some(rare) = rare {
            lows[FIELDS..].copy_from_slice(&rare.lows);
            highs[FIELDS..].copy_from_slice(&rare.highs);
        }
        Self { lows, highs, flags: rare.map_or((0, 0), |rare| (rare.flags_mask, rare.flags)) }
    }

    /// Whether all that is in a part is in it.
    pub(super) fn covers(&self, part: &Self) -> bool {
        let ((mask, flags), (of_part, set)) = (self.flags, part.flags);
        let mut fields = self.lows.iter().zip(&self.highs).zip(part.lows.iter().zip(&part.highs));
        mask & !of_part == 0
            && set & mask == flags
            && fields.all(|((low, high), (from, to))| low <= from && high >= to)
    }
}

/// All of the space.
const EVERYTHING: Wide =
    Wide { lows: [0; ALL_FIELDS], highs: [u64::MAX; ALL_FIELDS], flags: (0, 0) };

/// Too many rules that differ in too little that packets can be told by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too many rules overlap in too many ways for a table that answers quickly")]
pub struct TooComplex;

/// Where to cut.
#[derive(Clone, Copy, Debug)]
struct Cut {
    field: usize,
    threshold: u64,
}

/// Makes a tree of some of the conditions, in the order of their ranks, behind the nodes
/// that are there. Returns its root.
pub(super) fn build(
    conditions: &[Wide],
    some: Vec<u32>,
    nodes: &mut Vec<Node>,
    most: usize,
) -> Result<u32, TooComplex> {
    let first = nodes.len();
    let root = number(first);
    nodes.push(Node::default());
    let mut builder = Builder { conditions, nodes, most: first + most };
    let built = builder.fill(root, EVERYTHING, some, 0);
    if built.is_err() {
        nodes.truncate(first);
    }
    built.map(|()| root)
}

struct Builder<'a> {
    conditions: &'a [Wide],
    nodes: &'a mut Vec<Node>,
    most: usize,
}

impl Builder<'_> {
    /// Makes a node, and all that is below it, of the conditions that touch a part.
    fn fill(
        &mut self,
        at: u32,
        part: Wide,
        mut list: Vec<u32>,
        depth: usize,
    ) -> Result<(), TooComplex> {
        // What comes behind one that covers the part is never reached.
        if let Some(last) = list.iter().position(|index| self.wide(*index).covers(&part)) {
            list.truncate(last + 1);
        }
        let cut =
            if list.len() <= FEW || depth == MAX_DEPTH { None } else { self.cut(&part, &list) };
        let Some(Cut { field, threshold }) = cut else {
            return self.leaf(at, &list);
        };
        let (mut left, mut right) = (part, part);
        left.highs[field] = threshold;
        right.lows[field] = threshold + 1;
        let touches = |index: &&u32, low: bool| {
            let wide = self.wide(**index);
            if low { wide.lows[field] <= threshold } else { wide.highs[field] > threshold }
        };
        let lefts: Vec<u32> = list.iter().filter(|index| touches(index, true)).copied().collect();
        let rights: Vec<u32> = list.iter().filter(|index| touches(index, false)).copied().collect();
        drop(list);
        let next = self.reserve(2)?;
        self.nodes[at as usize] = Node { threshold, field: number(field), next };
        self.fill(next, left, lefts, depth + 1)?;
        self.fill(next + 1, right, rights, depth + 1)
    }

    fn wide(&self, index: u32) -> &Wide {
        &self.conditions[index as usize]
    }

    fn reserve(&mut self, count: usize) -> Result<u32, TooComplex> {
        let first = self.nodes.len();
        if first + count > self.most {
            return Err(TooComplex);
        }
        self.nodes.resize(first + count, Node::default());
        Ok(number(first))
    }

    fn leaf(&mut self, at: u32, list: &[u32]) -> Result<(), TooComplex> {
        if list.len() > MAX_LEAF {
            return Err(TooComplex);
        }
        let next = self.reserve(list.len().div_ceil(Node::PART))?;
        for (place, indices) in list.chunks(Node::PART).enumerate() {
            let mut part = [NONE; Node::PART];
            part[..indices.len()].copy_from_slice(indices);
            self.nodes[next as usize + place] = Node::part(part);
        }
        self.nodes[at as usize] = Node::leaf(number(list.len()), next);
        Ok(())
    }

    /// The best cut: in the field in which the fewest conditions lie side by side with a
    /// place on average, where half of them are on either side. Fields that packets of one
    /// flow differ in are cut only where nothing else helps and the list is too long.
    fn cut(&self, part: &Wide, list: &[u32]) -> Option<Cut> {
        let of_flow = 0..field::FIRST_OF_PACKET as usize;
        let best = |fields: &mut dyn Iterator<Item = usize>| {
            let cuts = fields.filter_map(|field| self.cut_in(field, part, list));
            cuts.min_by(|(one, _), (other, _)| one.total_cmp(other)).map(|(_, cut)| cut)
        };
        let cut = best(&mut of_flow.clone());
        if cut.is_some() || list.len() <= MAX_LEAF {
            return cut;
        }
        best(&mut (of_flow.end..ALL_FIELDS))
    }

    /// The cut in a field that leaves half on either side, and how many conditions a place
    /// in that field has on average: none if that tells nothing apart.
    fn cut_in(&self, field: usize, part: &Wide, some: &[u32]) -> Option<(f64, Cut)> {
        let (low, high) = (part.lows[field], part.highs[field]);
        // Where conditions begin, and behind which they end.
        let mut begins = Vec::with_capacity(some.len());
        let mut ends = Vec::with_capacity(some.len());
        for index in some {
            let wide = self.wide(*index);
            begins.push(wide.lows[field].max(low));
            ends.push(wide.highs[field].min(high));
        }
        begins.sort_unstable();
        ends.sort_unstable();
        // Places between them, each with as many conditions as have begun and not ended.
        let mut places: Vec<(u64, usize)> = Vec::new();
        let (mut inside, mut gone) = (0, 0);
        while gone < ends.len() {
            // The next place goes to the next end, or to before the next beginning.
            let end = ends[gone];
            while inside < begins.len() && begins[inside] == start(&places, low) {
                inside += 1;
            }
            let last = match begins.get(inside) {
                Some(next) if *next <= end => next - 1,
                _ => end,
            };
            places.push((last, inside - gone));
            while gone < ends.len() && ends[gone] <= last {
                gone += 1;
            }
        }
        if places.len() < 2 && places.last().is_none_or(|(last, _)| *last == high) {
            return None;
        }
        let sum: usize = places.iter().map(|(_, count)| count).sum();
        let mut so_far = 0;
        let mut threshold = None;
        for (last, count) in &places {
            so_far += count;
            if *last < high {
                threshold = Some(*last);
            }
            if so_far * 2 >= sum {
                break;
            }
        }
        let threshold = threshold?;
        #[expect(clippy::cast_precision_loss, reason = "compared only")]
        let average = sum as f64 / places.len() as f64;
        Some((average, Cut { field, threshold }))
    }
}

/// Where the place behind those begins.
fn start(places: &[(u64, usize)], low: u64) -> u64 {
    places.last().map_or(low, |(last, _)| last + 1)
}

#[expect(clippy::cast_possible_truncation, reason = "tables are shorter than that")]
fn number(place: usize) -> u32 {
    place as u32
}

const _: () = assert!(LEAF as usize > ALL_FIELDS);
