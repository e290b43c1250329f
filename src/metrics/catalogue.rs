//! How families are declared: each is registered once, and remembered for the page about them.

use prometheus::core::Collector;
use prometheus::{
    CounterVec, HistogramOpts, HistogramVec, IntCounterVec, IntGaugeVec, Opts, Registry,
};

use super::changes::Changes;

/// One family, for the page about them.
pub(super) struct Declared {
    pub(super) name: String,
    pub(super) kind: &'static str,
    pub(super) labels: Vec<&'static str>,
    pub(super) help: &'static str,
}

/// How much a label or a histogram may tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Detail {
    /// A few pairs: everything.
    Fine,
    /// A fleet: the label `resource` is left out, and histograms have fewer buckets, so that six
    /// hundred pairs stay under fifty thousand series.
    Coarse,
}

/// Where families are declared: each is registered and remembered for the page.
#[derive(Default)]
pub(super) struct Catalogue {
    pub(super) registry: Registry,
    pub(super) declared: Vec<Declared>,
}

impl Catalogue {
    pub(super) fn counter(
        &mut self,
        name: &str,
        labels: &[&[&'static str]],
        help: &'static str,
    ) -> IntCounterVec {
        let (options, labels) = self.declare(name, "counter", labels, help);
        self.register(IntCounterVec::new(options, &labels))
    }

    pub(super) fn seconds(
        &mut self,
        name: &str,
        labels: &[&[&'static str]],
        help: &'static str,
    ) -> CounterVec {
        let (options, labels) = self.declare(name, "counter", labels, help);
        self.register(CounterVec::new(options, &labels))
    }

    pub(super) fn changes(
        &mut self,
        name: &str,
        labels: &[&[&'static str]],
        detail: Detail,
        help: &'static str,
    ) -> Changes {
        let (options, labels) = self.declare(name, "counter", labels, help);
        let labels = labels.into_iter().map(str::to_owned).collect();
        self.register(Changes::new(&options.variable_labels(labels), detail))
    }

    pub(super) fn gauge(
        &mut self,
        name: &str,
        labels: &[&[&'static str]],
        help: &'static str,
    ) -> IntGaugeVec {
        let (options, labels) = self.declare(name, "gauge", labels, help);
        self.register(IntGaugeVec::new(options, &labels))
    }

    pub(super) fn histogram(
        &mut self,
        name: &str,
        labels: &[&[&'static str]],
        buckets: &[f64],
        help: &'static str,
    ) -> HistogramVec {
        let (options, labels) = self.declare(name, "histogram", labels, help);
        let options = HistogramOpts::from(options).buckets(buckets.to_vec());
        self.register(HistogramVec::new(options, &labels))
    }

    fn declare(
        &mut self,
        name: &str,
        kind: &'static str,
        labels: &[&[&'static str]],
        help: &'static str,
    ) -> (Opts, Vec<&'static str>) {
        let labels = labels.concat();
        let name = format!("tidemark_{name}");
        let options = Opts::new(name.clone(), help);
        self.declared.push(Declared { name, kind, labels: labels.clone(), help });
        (options, labels)
    }

    fn register<C: Collector + Clone + 'static>(&self, family: prometheus::Result<C>) -> C {
        let family = family.expect("a declaration has a good name and labels");
        self.registry.register(Box::new(family.clone())).expect("each name is declared once");
        family
    }
}
