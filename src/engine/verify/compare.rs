//! One resource compared: both ends into files, then a share of them at a time, then a second look at
//! what differs.
//!
//! The one thing to know: entries of the source are all that is held, at most about [`HELD`] of them,
//! however many items a resource has (R30).

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::domain::{KeyShape, NaturalKey, ResourcePath, SourceId, TargetId};
use crate::sources::{ItemPages, Lookup};
use crate::state::{Compared, Comparison, Looked, ResourceUnderWay, SpooledSide, Step};
use crate::targets::{Found, FoundPages, Match};

use super::super::RunError;
use super::super::run::Surroundings;
use super::super::under_way::Run;
use super::VerifyOptions;
use super::spool::{Entry, Spool, Writer};

/// Entries of the source in memory at once, more or less: a share of a large resource has its part of
/// them by chance.
const HELD: u64 = 50_000;
/// Files that are written at once while a resource is divided; beyond, a file holds several shares.
const FILES: u64 = 64;
/// So many items of one end are read between two notes of how far it has come: what is lost when the
/// process is killed.
const NOTED_EVERY: u64 = 10_000;

const SOURCE: &str = "source";
const TARGET: &str = "target";
const CANDIDATES: &str = "candidates";

/// Ids of the source's items that are missing or different at the target.
pub(super) fn unlike_file(resource: usize) -> String {
    format!("unlike-{resource}")
}

/// Ids of what only the target has.
pub(super) fn extra_file(resource: usize) -> String {
    format!("extra-{resource}")
}

/// A comparison under way.
pub(super) struct Comparing<'a> {
    pub(super) around: &'a Surroundings,
    pub(super) run: &'a Arc<Run>,
    pub(super) options: &'a VerifyOptions,
    pub(super) spool: &'a Spool,
    pub(super) comparison: &'a mut Comparison,
    pub(super) most_held: &'a mut usize,
}

/// What is compared of one resource, and what it is called there.
struct Subject<'a> {
    resource: &'a ResourcePath,
    shape: Arc<KeyShape>,
    with_content: bool,
    with_extras: bool,
}

impl Comparing<'_> {
    pub(super) async fn resource(&mut self, resource: &ResourcePath) -> Result<(), RunError> {
        let run = Arc::clone(self.run);
        let shape = run.reader.key_shape(resource).await.map_err(RunError::Source)?;
        let Some(shape) = shape else {
            return Err(RunError::UnknownKey { resource: resource.clone() });
        };
        let subject = Subject {
            resource,
            shape,
            with_content: self.options.content && !run.ownership.is_create_only(resource),
            with_extras: run.pair.policy.sole_writer && run.ownership.is_own(resource),
        };
        let before = self.comparison.under_way.take();
        let mut way = before.filter(|way| way.resource == *resource).unwrap_or_else(|| {
            let side = SpooledSide::default();
            let resource = resource.clone();
            ResourceUnderWay { resource, source: side.clone(), target: side, looked: None }
        });
        self.spool_source(&subject, &mut way).await?;
        self.spool_target(&subject, &mut way).await?;
        let counts = self.look(&subject, &mut way).await?;

        let had_items = counts.source + counts.target > 0;
        self.comparison.compared.push(counts);
        for file in [SOURCE, TARGET, CANDIDATES] {
            self.spool.remove(file);
        }
        // A resource without items costs as much to note as to read again.
        if had_items { self.note(None).await } else { Ok(()) }
    }

    /// Puts on disk how far the comparison has come.
    async fn note(&mut self, under_way: Option<&ResourceUnderWay>) -> Result<(), RunError> {
        self.comparison.under_way = under_way.cloned();
        let comparison = Some(self.comparison.clone());
        let step = Step { comparison, ..Step::default() };
        self.around.store.commit(&self.run.pair.id, step).await.map_err(RunError::State)
    }

    async fn spool_source(
        &mut self,
        subject: &Subject<'_>,
        way: &mut ResourceUnderWay,
    ) -> Result<(), RunError> {
        let run = Arc::clone(self.run);
        if way.source.is_whole && self.spool.writer(SOURCE, way.source.bytes)?.is_some() {
            return Ok(());
        }
        let (mut pages, mut page, mut writer) = self.source_pages(subject, way).await?;
        let mut noted = way.source.items;
        while let Some(items) = page {
            run.check_stop()?;
            if way.source.items >= noted + NOTED_EVERY
                && let Some(position) = pages.position()
            {
                way.source.bytes = writer.sync()?;
                way.source.position = Some(position);
                self.note(Some(way)).await?;
                noted = way.source.items;
            }
            for item in items {
                let key = subject.key_of(subject.shape.key_of(&item.body))?;
                writer.write(&self.entry(subject, &key, item.body.bytes(), item.id.0))?;
                way.source.items += 1;
            }
            page = pages.next().await.map_err(RunError::Source)?;
        }
        way.source.is_whole = true;
        self.side_is_whole(way, writer, |way| &mut way.source).await
    }

    /// The pages of the source, the first of them, and the file that they go to: from where another
    /// process was, if the source can begin there again.
    async fn source_pages(
        &self,
        subject: &Subject<'_>,
        way: &mut ResourceUnderWay,
    ) -> Result<(Box<dyn ItemPages>, Option<Vec<crate::domain::Item>>, Writer), RunError> {
        let window = self.run.window.from_the_beginning();
        if let Some(position) = &way.source.position
            && let Some(writer) = self.spool.writer(SOURCE, way.source.bytes)?
            && let Some(mut pages) =
                self.run.reader.upserts_from(subject.resource, window, position)
        {
            match pages.next().await {
                Ok(first) => return Ok((pages, first, writer)),
                // The server does not know its own cursor any more.
                Err(error) if error.is_refused_question() => {}
                Err(error) => return Err(RunError::Source(error)),
            }
        }
        way.source = SpooledSide::default();
        way.looked = None;
        let mut pages = self.run.reader.upserts(subject.resource, window);
        let first = pages.next().await.map_err(RunError::Source)?;
        Ok((pages, first, self.spool.new_writer(SOURCE)?))
    }

    async fn spool_target(
        &mut self,
        subject: &Subject<'_>,
        way: &mut ResourceUnderWay,
    ) -> Result<(), RunError> {
        let run = Arc::clone(self.run);
        if way.target.is_whole && self.spool.writer(TARGET, way.target.bytes)?.is_some() {
            return Ok(());
        }
        let (mut pages, mut page, mut writer) = self.target_pages(subject, way).await?;
        let mut noted = way.target.items;
        while let Some(found) = page {
            run.check_stop()?;
            if way.target.items >= noted + NOTED_EVERY
                && let Some(position) = pages.position()
            {
                way.target.bytes = writer.sync()?;
                way.target.position = Some(position);
                self.note(Some(way)).await?;
                noted = way.target.items;
            }
            for found in found {
                let key = subject.key_of(found.key)?;
                writer.write(&self.entry(subject, &key, found.body.bytes(), found.id.0))?;
                way.target.items += 1;
            }
            page = pages.next().await.map_err(RunError::Target)?;
        }
        way.target.is_whole = true;
        self.side_is_whole(way, writer, |way| &mut way.target).await
    }

    /// The same of the target. It is live: what has come or gone behind that place since is looked at
    /// once more like everything that differs.
    async fn target_pages(
        &self,
        subject: &Subject<'_>,
        way: &mut ResourceUnderWay,
    ) -> Result<(Box<dyn FoundPages>, Option<Vec<Found>>, Writer), RunError> {
        let target = &self.run.pair.target;
        if let Some(position) = &way.target.position
            && let Some(writer) = self.spool.writer(TARGET, way.target.bytes)?
            && let Some(mut pages) = target.pages_from(subject.resource, position)
        {
            match pages.next().await {
                Ok(first) => return Ok((pages, first, writer)),
                // The server does not know its own cursor any more.
                Err(error) if error.refusal().is_some() => {}
                Err(error) => return Err(RunError::Target(error)),
            }
        }
        way.target = SpooledSide::default();
        way.looked = None;
        let mut pages = target.pages(subject.resource);
        let first = pages.next().await.map_err(RunError::Target)?;
        Ok((pages, first, self.spool.new_writer(TARGET)?))
    }

    async fn side_is_whole(
        &mut self,
        way: &mut ResourceUnderWay,
        mut writer: Writer,
        side: impl Fn(&mut ResourceUnderWay) -> &mut SpooledSide,
    ) -> Result<(), RunError> {
        let side = side(way);
        if side.items < NOTED_EVERY {
            side.bytes = writer.flush()?;
            return Ok(());
        }
        side.bytes = writer.sync()?;
        self.note(Some(way)).await
    }

    fn entry(&self, subject: &Subject<'_>, key: &NaturalKey, body: &[u8], id: String) -> Entry {
        let content = if subject.with_content { self.spool.hash_of_content(body) } else { 0 };
        Entry { key: self.spool.hash_of_key(key), content, id }
    }

    /// Compares what is in the files, a share at a time.
    async fn look(
        &mut self,
        subject: &Subject<'_>,
        way: &mut ResourceUnderWay,
    ) -> Result<Compared, RunError> {
        let shares = Shares::of(way.source.items);
        shares.divide(self.spool, SOURCE, way.source.bytes)?;
        shares.divide(self.spool, TARGET, way.target.bytes)?;
        let number = self.comparison.compared.len();
        let (unlike, extra) = (unlike_file(number), extra_file(number));
        let before = way.looked.take();
        let (mut looked, mut found) = match self.go_on(before, &unlike, &extra)? {
            Some(gone_on) => gone_on,
            None => (
                subject.nothing_looked_at(way.target.items),
                Differences {
                    unlike: self.spool.new_writer(&unlike)?,
                    extra: self.spool.new_writer(&extra)?,
                },
            ),
        };
        while looked.shares < shares.count {
            self.look_at(subject, shares, &mut looked, &mut found).await?;
            looked.shares += 1;
            looked.unlike_bytes = found.unlike.sync()?;
            looked.extra_bytes = found.extra.sync()?;
            if looked.shares < shares.count {
                way.looked = Some(looked.clone());
                self.note(Some(way)).await?;
            }
        }
        shares.clean_up(self.spool);
        for (file, bytes) in [(unlike, looked.unlike_bytes), (extra, looked.extra_bytes)] {
            if bytes == 0 {
                self.spool.remove(&file);
            }
        }
        Ok(looked.counts)
    }

    fn go_on(
        &self,
        before: Option<Looked>,
        unlike: &str,
        extra: &str,
    ) -> Result<Option<(Looked, Differences)>, RunError> {
        let Some(looked) = before else { return Ok(None) };
        let unlike = self.spool.writer(unlike, looked.unlike_bytes)?;
        let extra = self.spool.writer(extra, looked.extra_bytes)?;
        Ok(unlike.zip(extra).map(|(unlike, extra)| (looked, Differences { unlike, extra })))
    }

    async fn look_at(
        &mut self,
        subject: &Subject<'_>,
        shares: Shares,
        looked: &mut Looked,
        found: &mut Differences,
    ) -> Result<(), RunError> {
        let mut held = BTreeMap::new();
        for entry in shares.entries(self.spool, SOURCE, looked.shares)? {
            let Entry { key, content, id } = entry?;
            held.insert(key, Held { content, id: SourceId(id), at_target: AtTarget::Missing });
        }
        *self.most_held = held.len().max(*self.most_held);
        looked.counts.source += u64::try_from(held.len()).unwrap_or(u64::MAX);

        let mut candidates = self.spool.new_writer(CANDIDATES)?;
        for entry in shares.entries(self.spool, TARGET, looked.shares)? {
            let entry = entry?;
            match held.get_mut(&entry.key) {
                Some(held) if held.content == entry.content => held.at_target = AtTarget::Same,
                Some(held) if held.at_target == AtTarget::Missing => {
                    held.at_target = AtTarget::Different;
                }
                Some(_) => {}
                None if subject.with_extras => candidates.write(&entry)?,
                None => {}
            }
        }
        let candidate_bytes = candidates.flush()?;

        for (key, held) in held {
            let (differs, count) = match held.at_target {
                AtTarget::Same => continue,
                AtTarget::Missing => {
                    (self.still_missing(subject, &held.id).await?, &mut looked.counts.missing)
                }
                AtTarget::Different => {
                    (self.still_different(subject, &held.id).await?, &mut looked.counts.different)
                }
            };
            let Differs::Yes(natural) = differs else { continue };
            let is_known = self.is_parked(subject.resource, &held.id, natural.as_ref());
            *(if is_known { &mut looked.counts.parked } else { count }) += 1;
            found.unlike.write(&Entry { key, content: 0, id: held.id.0 })?;
        }
        if let Some(count) = &mut looked.counts.extra {
            for entry in self.spool.entries(CANDIDATES, candidate_bytes)? {
                let entry = entry?;
                let id = TargetId(entry.id.clone());
                if is_extra(self.run, subject.resource, &id).await? {
                    *count += 1;
                    found.extra.write(&Entry { content: 0, ..entry })?;
                }
            }
        }
        Ok(())
    }

    fn is_parked(&self, resource: &ResourcePath, id: &SourceId, key: Option<&NaturalKey>) -> bool {
        let book = self.run.book();
        book.holds_upsert(resource, id) || key.is_some_and(|key| book.holds_key(resource, key))
    }

    // The second look, at both ends.

    async fn still_missing(
        &self,
        subject: &Subject<'_>,
        id: &SourceId,
    ) -> Result<Differs, RunError> {
        self.run.check_stop()?;
        let Some((key, _)) = self.at_source(subject, id).await? else { return Ok(Differs::No) };
        let Some(key) = key else { return Ok(Differs::Yes(None)) };
        Ok(match self.at_target(subject, &key).await? {
            Match::One(_) => Differs::No,
            Match::None | Match::Doubtful { .. } => Differs::Yes(Some(key)),
        })
    }

    async fn still_different(
        &self,
        subject: &Subject<'_>,
        id: &SourceId,
    ) -> Result<Differs, RunError> {
        self.run.check_stop()?;
        let Some((Some(key), hash)) = self.at_source(subject, id).await? else {
            return Ok(Differs::No);
        };
        Ok(match self.at_target(subject, &key).await? {
            Match::One(Found { body, .. }) if self.spool.hash_of_content(body.bytes()) == hash => {
                Differs::No
            }
            Match::One(_) | Match::None | Match::Doubtful { .. } => Differs::Yes(Some(key)),
        })
    }

    /// The key and the hash of what the id shows now, without a key where it is there and not shown;
    /// `None` where it has gone.
    async fn at_source(
        &self,
        subject: &Subject<'_>,
        id: &SourceId,
    ) -> Result<Option<(Option<NaturalKey>, u64)>, RunError> {
        let found = self.run.reader.get(subject.resource, id).await.map_err(RunError::Source)?;
        Ok(match found {
            Lookup::Absent => None,
            Lookup::Hidden => Some((None, 0)),
            Lookup::Lives(item) => {
                let key = subject.key_of(subject.shape.key_of(&item.body))?;
                Some((Some(key), self.spool.hash_of_content(item.body.bytes())))
            }
        })
    }

    async fn at_target(&self, subject: &Subject<'_>, key: &NaturalKey) -> Result<Match, RunError> {
        let found = self.run.target(|target| target.find(subject.resource, key)).await;
        found.map_err(RunError::Target)
    }
}

impl Subject<'_> {
    fn key_of(&self, key: Option<NaturalKey>) -> Result<NaturalKey, RunError> {
        key.ok_or_else(|| RunError::UnknownKey { resource: self.resource.clone() })
    }

    fn nothing_looked_at(&self, target_items: u64) -> Looked {
        let counts = Compared {
            resource: self.resource.clone(),
            source: 0,
            target: target_items,
            missing: 0,
            extra: self.with_extras.then_some(0),
            different: 0,
            parked: 0,
        };
        Looked { shares: 0, counts, unlike_bytes: 0, extra_bytes: 0 }
    }
}

/// Whether what the target shows under this id has a key, and that key does not live at the source
/// (R3, R4).
pub(super) async fn is_extra(
    run: &Arc<Run>,
    resource: &ResourcePath,
    id: &TargetId,
) -> Result<bool, RunError> {
    run.check_stop()?;
    let found = run.target(|target| target.get(resource, id)).await.map_err(RunError::Target)?;
    let Some(found) = found else { return Ok(false) };
    let Some(key) = found.key else {
        return Err(RunError::UnknownKey { resource: resource.clone() });
    };
    let at_source = run.reader.find(resource, &key).await.map_err(RunError::Source)?;
    Ok(matches!(at_source, Lookup::Absent))
}

enum Differs {
    No,
    /// With the key, where the source shows it.
    Yes(Option<NaturalKey>),
}

struct Held {
    content: u64,
    id: SourceId,
    at_target: AtTarget,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum AtTarget {
    Missing,
    Different,
    Same,
}

struct Differences {
    unlike: Writer,
    extra: Writer,
}

/// Into how many shares the entries of a resource are divided, and into how many files the shares.
#[derive(Clone, Copy)]
struct Shares {
    count: u64,
    files: u64,
}

impl Shares {
    fn of(items: u64) -> Shares {
        // A quarter is left for what chance puts into a share beyond its part.
        let count = items / (HELD / 4 * 3) + 1;
        Shares { count, files: count.min(FILES) }
    }

    fn name(side: &str, file: u64) -> String {
        format!("{side}-{file}")
    }

    /// Both ends are divided alike, because equal keys have equal hashes.
    fn divide(self, spool: &Spool, side: &str, bytes: u64) -> Result<(), RunError> {
        let files = (0..self.files).map(|file| spool.new_writer(&Shares::name(side, file)));
        let mut files = files.collect::<Result<Vec<Writer>, _>>()?;
        for entry in spool.entries(side, bytes)? {
            let entry = entry?;
            let file = (entry.spread() % self.count) % self.files;
            files[usize::try_from(file).expect("there are few files")].write(&entry)?;
        }
        for file in &mut files {
            file.flush()?;
        }
        Ok(())
    }

    fn entries(
        self,
        spool: &Spool,
        side: &str,
        share: u64,
    ) -> Result<impl Iterator<Item = Result<Entry, super::spool::SpoolError>>, RunError> {
        let all = spool.whole(&Shares::name(side, share % self.files))?;
        let is_of_share = move |entry: &Entry| entry.spread() % self.count == share;
        Ok(all.filter(move |entry| entry.as_ref().map_or(true, is_of_share)))
    }

    fn clean_up(self, spool: &Spool) {
        for file in 0..self.files {
            for side in [SOURCE, TARGET] {
                spool.remove(&Shares::name(side, file));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_small_and_so_are_the_files_however_many_items_there_are() {
        for (items, count, files) in
            [(0, 1, 1), (37_499, 1, 1), (37_500, 2, 2), (2_000_000, 54, 54), (80_000_000, 2134, 64)]
        {
            let shares = Shares::of(items);

            assert_eq!((shares.count, shares.files), (count, files), "{items}");
        }
    }

    #[test]
    fn an_entry_is_in_one_share_and_in_its_file() {
        let directory = tempfile::tempdir().unwrap();
        let spool = Spool::open(directory.path(), "one", crate::state::SpoolKey([3; 32])).unwrap();
        let mut all = spool.new_writer(SOURCE).unwrap();
        for number in 0..2_000_u16 {
            let key = spool.hash_of_key(
                &[("n".to_owned(), crate::domain::KeyText::Bare(number.to_string()))]
                    .into_iter()
                    .collect(),
            );
            all.write(&Entry { key, content: 0, id: number.to_string() }).unwrap();
        }
        let bytes = all.flush().unwrap();
        for shares in [Shares { count: 1, files: 1 }, Shares { count: 7, files: 3 }] {
            shares.divide(&spool, SOURCE, bytes).unwrap();

            let mut ids = Vec::new();
            for share in 0..shares.count {
                let of_share = shares.entries(&spool, SOURCE, share).unwrap();
                let of_share: Vec<Entry> = of_share.map(Result::unwrap).collect();
                assert!(of_share.len() < 2_000 / usize::try_from(shares.count).unwrap() * 2 + 1);
                ids.extend(of_share.into_iter().map(|entry| entry.id.parse::<u16>().unwrap()));
            }

            ids.sort_unstable();
            assert_eq!(ids, (0..2_000).collect::<Vec<u16>>());
        }
    }
}
