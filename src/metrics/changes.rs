//! `tidemark_changes_total`: what became of changes, by pair, stage, outcome and resource.
//!
//! What lives here: the one family that has samples for every resource of every pair, a thousand for each
//! pair, and that is told of every item. What does not: all the others ([`super::pairs`]). The one thing to
//! know: labels are put together when somebody asks. A vector of counters keeps all of its labels as text
//! for each sample, 600 KiB for a pair, and looks for them in all of them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};

use prometheus::core::{Collector, Desc, Describer};
use prometheus::proto::{Counter, LabelPair, Metric, MetricFamily, MetricType};
use prometheus::{Opts, Result};

use super::catalogue::Detail;
use crate::domain::{ResourcePath, Stage, Tally};
use crate::state::PairId;

/// What became of a change: the label `outcome`.
pub(super) const SETTLED: [&str; 3] = ["applied", "skipped", "parked"];

/// How many there were of each of [`SETTLED`].
type Counts = [u64; SETTLED.len()];
/// In the order of [`Stage::ALL`]; under no resource where the label is left out.
type OfPair = [HashMap<Option<ResourcePath>, Counts>; Stage::ALL.len()];

/// The family. Clones are the same one.
#[derive(Clone)]
pub(super) struct Changes {
    shared: Arc<Shared>,
}

struct Shared {
    declared: Desc,
    detail: Detail,
    counted: Mutex<HashMap<PairId, OfPair>>,
}

impl Changes {
    pub(super) fn new(options: &Opts, detail: Detail) -> Result<Changes> {
        let shared = Shared { declared: options.describe()?, detail, counted: Mutex::default() };
        Ok(Changes { shared: Arc::new(shared) })
    }

    /// Adds what became of some. A tally of nothing brings every outcome there at zero.
    pub(super) fn count(
        &self,
        pair: &PairId,
        stage: Stage,
        resource: &ResourcePath,
        settled: Tally,
    ) {
        match self.shared.detail {
            Detail::Fine => self.add(pair, stage, Some(resource.clone()), settled),
            Detail::Coarse => self.add(pair, stage, None, settled),
        }
    }

    /// Where the label `resource` is left out, all that the pair can count is there from its start.
    pub(super) fn start_counting(&self, pair: &PairId) {
        if self.shared.detail == Detail::Coarse {
            for stage in Stage::ALL {
                self.add(pair, stage, None, Tally::default());
            }
        }
    }

    fn add(&self, pair: &PairId, stage: Stage, resource: Option<ResourcePath>, settled: Tally) {
        let mut counted = self.counted();
        if !counted.contains_key(pair) {
            counted.insert(pair.clone(), OfPair::default());
        }
        let of_pair = counted.get_mut(pair).expect("it was put there");
        let counts = of_pair[stage as usize].entry(resource).or_default();
        let Tally { read: _, applied, skipped, parked } = settled;
        for (count, more) in counts.iter_mut().zip([applied, skipped, parked]) {
            *count += more;
        }
    }

    fn counted(&self) -> MutexGuard<'_, HashMap<PairId, OfPair>> {
        self.shared.counted.lock().expect("nothing panics while it holds these")
    }
}

impl Collector for Changes {
    fn desc(&self) -> Vec<&Desc> {
        vec![&self.shared.declared]
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let mut samples = Vec::new();
        for (pair, of_pair) in &*self.counted() {
            for (stage, by_resource) in Stage::ALL.into_iter().zip(of_pair) {
                for (resource, counts) in by_resource {
                    for (outcome, count) in SETTLED.into_iter().zip(counts) {
                        let labels = labels(pair, stage, resource.as_ref(), outcome);
                        samples.push(sample(labels, *count));
                    }
                }
            }
        }
        let Desc { fq_name, help, .. } = &self.shared.declared;
        let mut family = MetricFamily::default();
        family.set_name(fq_name.clone());
        family.set_help(help.clone());
        family.set_field_type(MetricType::COUNTER);
        family.set_metric(samples);
        vec![family]
    }
}

/// By their names, as those of the other families are.
fn labels(
    pair: &PairId,
    stage: Stage,
    resource: Option<&ResourcePath>,
    outcome: &str,
) -> Vec<LabelPair> {
    let mut labels =
        vec![label("outcome", outcome), label("publication", pair.publication.as_str())];
    labels.extend(resource.map(|resource| label("resource", resource.as_str())));
    labels.extend([label("stage", stage.as_str()), label("target", &pair.target)]);
    labels
}

fn label(name: &str, value: &str) -> LabelPair {
    let mut label = LabelPair::default();
    label.set_name(name.to_owned());
    label.set_value(value.to_owned());
    label
}

fn sample(labels: Vec<LabelPair>, count: u64) -> Metric {
    let mut counter = Counter::default();
    // The format has no other number; whole ones are exact in it up to 2^53.
    counter.set_value(count as f64);
    let mut sample = Metric::from_label(labels);
    sample.set_counter(counter);
    sample
}
