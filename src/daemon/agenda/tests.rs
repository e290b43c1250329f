//! Claims about what runs when.

use super::*;

fn add(
    agenda: &mut Agenda,
    publication: &str,
    timetable: Timetable,
    newcomers: Vec<Newcomer>,
    last: Option<Timestamp>,
    now: Timestamp,
) {
    let newcomers =
        newcomers.into_iter().map(|pair| Newcomer { last_ended_at: last, ..pair }).collect();
    agenda.add(publication, terms(timetable), newcomers, now);
}

fn terms(timetable: Timetable) -> Terms {
    Terms { schedule: format!("{timetable:?}"), timetable, ..Terms::manual("district") }
}

fn at(minutes: i64) -> Timestamp {
    "2026-01-31T10:00:00Z".parse::<Timestamp>().unwrap() + TimeDelta::minutes(minutes)
}

fn pair(publication: &str, target: &str) -> PairId {
    PairId { publication: publication.to_owned(), target: target.to_owned() }
}

fn newcomer(id: PairId) -> Newcomer {
    Newcomer { id, plan: None, last_ended_at: None, failed: false, parked_due_at: None }
}

fn every(minutes: u64) -> Timetable {
    Timetable::every(Duration::from_secs(minutes * 60)).unwrap()
}

/// One publication `p` to `t`, every hour, that has just run.
fn hourly() -> Agenda {
    let mut agenda = Agenda::new(10);
    add(&mut agenda, "p", every(60), vec![newcomer(pair("p", "t"))], Some(at(0)), at(0));
    agenda
}

const DONE: Ending = Ending::Done { parked_due_at: None };

#[test]
fn pairs_of_a_publication_begin_together() {
    let mut agenda = Agenda::new(10);
    let pairs = vec![newcomer(pair("p", "t")), newcomer(pair("p", "u"))];

    add(&mut agenda, "p", every(60), pairs, None, at(0));

    let start = Start {
        publication: "p".to_owned(),
        job: Job::Run(None),
        pairs: vec![pair("p", "t"), pair("p", "u")],
    };
    assert_eq!(agenda.start_due(at(0)), [start]);
    assert_eq!(agenda.start_due(at(1)), []);
}

#[test]
fn p12_ticks_that_were_missed_while_a_run_lasted_come_once_and_never_beside_it() {
    let mut agenda = hourly();
    assert_eq!(agenda.start_due(at(60)).len(), 1);

    for minute in [120, 180, 240] {
        assert_eq!(agenda.start_due(at(minute)), [], "it still runs at {minute}");
    }
    agenda.ended(&pair("p", "t"), DONE, at(250));

    assert_eq!(agenda.start_due(at(250)).len(), 1, "once for the three");
    agenda.ended(&pair("p", "t"), DONE, at(251));
    assert_eq!(agenda.start_due(at(252)), []);
}

#[test]
fn a_failed_run_is_started_again_at_doubling_delays_until_the_tick_takes_over() {
    let mut agenda = hourly();
    let mut starts = Vec::new();

    for minute in 60..=125 {
        if !agenda.start_due(at(minute)).is_empty() {
            starts.push(minute);
            agenda.ended(&pair("p", "t"), Ending::MayPass, at(minute));
        }
    }

    assert_eq!(starts, [60, 61, 63, 67, 75, 91, 120, 121, 123]);
}

#[test]
fn the_delay_stops_growing_at_half_an_hour() {
    let mut agenda = Agenda::new(1);
    let nightly = Timetable::cron("0 0 9 * * *", "UTC").unwrap();
    let failed = Newcomer { failed: true, ..newcomer(pair("p", "t")) };
    add(&mut agenda, "p", nightly, vec![failed], Some(at(-60)), at(0));
    let mut starts = Vec::new();

    for minute in 0..=150 {
        if !agenda.start_due(at(minute)).is_empty() {
            starts.push(minute);
            agenda.ended(&pair("p", "t"), Ending::MayPass, at(minute));
        }
    }

    assert_eq!(starts, [1, 3, 7, 15, 31, 61, 91, 121]);
}

#[test]
fn a_run_that_ends_well_ends_the_attempts() {
    let mut agenda = hourly();
    agenda.start_due(at(60));
    agenda.ended(&pair("p", "t"), Ending::MayPass, at(60));
    agenda.start_due(at(61));

    agenda.ended(&pair("p", "t"), DONE, at(61));

    assert_eq!(agenda.start_due(at(119)), []);
    assert_eq!(agenda.next_of(&pair("p", "t"), at(0)), Some(at(120)));
}

#[test]
fn what_needs_a_person_waits_for_the_tick() {
    let mut agenda = hourly();
    agenda.start_due(at(60));

    agenda.ended(&pair("p", "t"), Ending::NeedsAPerson, at(60));

    assert_eq!(agenda.start_due(at(119)), []);
    assert_eq!(agenda.start_due(at(120)).len(), 1);
}

#[test]
fn a_parked_item_that_is_due_before_the_tick_starts_a_run_of_its_pair_alone() {
    let mut agenda = Agenda::new(10);
    let pairs = vec![newcomer(pair("p", "t")), newcomer(pair("p", "u"))];
    add(&mut agenda, "p", every(60), pairs, Some(at(0)), at(0));
    agenda.start_due(at(60));

    agenda.ended(&pair("p", "t"), Ending::Done { parked_due_at: Some(at(70)) }, at(60));
    agenda.ended(&pair("p", "u"), DONE, at(60));

    assert_eq!(agenda.next_of(&pair("p", "t"), at(0)), Some(at(70)));
    assert_eq!(agenda.start_due(at(69)), []);
    let start =
        Start { publication: "p".to_owned(), job: Job::Run(None), pairs: vec![pair("p", "t")] };
    assert_eq!(agenda.start_due(at(70)), [start]);
}

#[test]
fn a_parked_item_that_stays_due_does_not_make_its_pair_run_on_and_on() {
    let mut agenda = hourly();
    agenda.start_due(at(60));

    agenda.ended(&pair("p", "t"), Ending::Done { parked_due_at: Some(at(0)) }, at(60));

    assert_eq!(agenda.start_due(at(60)), []);
    assert_eq!(agenda.start_due(at(61)).len(), 1);
}

#[test]
fn no_more_pairs_than_allowed_run_at_once_and_who_waits_longest_is_next() {
    let mut agenda = Agenda::new(2);
    for name in ["a", "b", "c", "d"] {
        add(&mut agenda, name, every(1), vec![newcomer(pair(name, "t"))], None, at(0));
    }

    let first = agenda.start_due(at(0));
    assert_eq!(names(&first), ["a", "b"]);
    assert!(agenda.waits_for(&pair("c", "t"), at(0)).is_some());
    agenda.ended(&pair("a", "t"), DONE, at(1));

    // `a` is due again by now, but `c` and `d` have waited longer.
    assert_eq!(names(&agenda.start_due(at(1))), ["c"]);
    assert!(agenda.waits_for(&pair("a", "t"), at(1)).is_some());
}

#[test]
fn a_publication_without_a_schedule_never_starts_by_itself() {
    let mut agenda = Agenda::new(2);
    let due = Newcomer { failed: true, parked_due_at: Some(at(0)), ..newcomer(pair("p", "t")) };

    add(&mut agenda, "p", Timetable::Never, vec![due], Some(at(0)), at(0));

    assert_eq!(agenda.start_due(at(10_000)), []);
    assert_eq!(agenda.next_of(&pair("p", "t"), at(0)), None);
}

fn names(starts: &[Start]) -> Vec<&str> {
    starts.iter().map(|start| start.publication.as_str()).collect()
}

fn nightly() -> Terms {
    let timetable = Timetable::cron("0 0 20 * * *", "UTC").unwrap();
    terms(timetable)
}

/// Midnight is at 840 minutes, eight in the evening at 600.
const EVENING: i64 = 600;

fn alone(id: PairId) -> Vec<Newcomer> {
    vec![newcomer(id)]
}

#[test]
fn with_a_spread_each_pair_starts_once_at_its_own_moment_of_the_night() {
    let mut agenda = Agenda::new(1000);
    let spread = Duration::from_secs(4 * 3600);
    let targets: Vec<Newcomer> = (0..50).map(|n| newcomer(pair("p", &format!("t{n}")))).collect();
    agenda.add("p", Terms { spread, ..nightly() }, targets, at(0));
    let mut started = BTreeMap::new();
    let mut moments = std::collections::BTreeSet::new();

    for minute in EVENING - 10..EVENING + 300 {
        for start in agenda.start_due(at(minute)) {
            for id in start.pairs {
                moments.insert(minute);
                *started.entry(id.clone()).or_insert(0) += 1;
                agenda.ended(&id, DONE, at(minute));
            }
        }
    }

    assert_eq!(started.len(), 50);
    assert!(started.values().all(|times| *times == 1));
    let (first, last) = (*moments.first().unwrap(), *moments.last().unwrap());
    assert!(first >= EVENING && last <= EVENING + 240, "{first} to {last}");
    assert!(moments.len() > 30, "{} moments for 50 pairs", moments.len());
}

#[test]
fn p12_a_restart_runs_what_was_missed_once_and_repeats_nothing() {
    let planned = |next_tick| Plan {
        schedule: nightly().schedule,
        next_tick: Some(next_tick),
        ..Plan::default()
    };
    for (case, plan, runs) in [
        ("missed last night", planned(at(EVENING - 24 * 60)), 1),
        ("missed three nights", planned(at(EVENING - 72 * 60)), 1),
        ("ran last night", planned(at(EVENING)), 0),
        ("another schedule since", Plan { schedule: "?".to_owned(), ..planned(at(-600)) }, 0),
    ] {
        let mut agenda = Agenda::new(10);
        let known = Newcomer {
            plan: Some(plan),
            last_ended_at: Some(at(EVENING - 72 * 60)),
            ..newcomer(pair("p", "t"))
        };

        agenda.add("p", nightly(), vec![known], at(0));

        assert_eq!(agenda.start_due(at(0)).len(), runs, "{case}");
        agenda.ended(&pair("p", "t"), DONE, at(1));
        assert_eq!(agenda.start_due(at(2)), [], "{case}: once");
    }
}

#[test]
fn a_plan_that_is_kept_is_gone_on_with_after_a_restart() {
    let mut agenda = Agenda::new(10);
    agenda.add("p", nightly(), alone(pair("p", "t")), at(0));
    agenda.start_due(at(EVENING));
    agenda.ended(&pair("p", "t"), Ending::MayPass, at(EVENING + 1));
    agenda.start_due(at(EVENING + 2));
    agenda.ended(&pair("p", "t"), Ending::MayPass, at(EVENING + 2));
    let (_, plan) = agenda.take_changed().remove(0);

    let mut again = Agenda::new(10);
    let known = Newcomer { plan: Some(plan), failed: true, ..newcomer(pair("p", "t")) };
    again.add("p", nightly(), vec![known], at(EVENING + 3));

    assert_eq!(again.start_due(at(EVENING + 3)), [], "the second delay is two minutes");
    assert_eq!(again.start_due(at(EVENING + 4)).len(), 1);
    assert_eq!(agenda.take_changed(), [], "what was taken is not another plan");
}

#[test]
fn a_run_that_the_process_did_not_survive_is_due_again_at_once() {
    let mut agenda = Agenda::new(10);
    agenda.add("p", nightly(), alone(pair("p", "t")), at(0));
    agenda.start_due(at(EVENING));
    // Somebody pauses another pair, or this one: the plan is written down in the middle of the run.
    agenda.resume(&pair("p", "t"));
    let (_, plan) = agenda.take_changed().remove(0);

    let mut again = Agenda::new(10);
    let known = Newcomer { plan: Some(plan), ..newcomer(pair("p", "t")) };
    again.add("p", nightly(), vec![known], at(EVENING + 30));

    assert_eq!(again.start_due(at(EVENING + 30)).len(), 1);
}

#[test]
fn a_pause_holds_back_everything_until_its_time_and_survives_a_restart() {
    let mut agenda = hourly();
    let pause = Pause { since: at(1), until: Some(at(200)), reason: Some("move".to_owned()) };
    assert!(agenda.pause(&pair("p", "t"), pause.clone()));
    let (_, plan) = agenda.take_changed().remove(0);
    let mut again = Agenda::new(10);
    let known = Newcomer { plan: Some(plan), ..newcomer(pair("p", "t")) };
    again.add("p", terms(every(60)), vec![known], at(2));

    for minute in [60, 120, 180, 199] {
        assert_eq!(again.start_due(at(minute)), [], "paused at {minute}");
    }
    assert_eq!(again.paused(&pair("p", "t"), at(199)), Some(pause));
    assert_eq!(again.want(&pair("p", "t"), Wanted::default(), at(199)), Wish::Paused);
    assert_eq!(again.next_of(&pair("p", "t"), at(199)), Some(at(200)));

    assert_eq!(again.start_due(at(200)).len(), 1, "once for all that was missed");
    assert_eq!(again.paused(&pair("p", "t"), at(200)), None);
}

#[test]
fn a_pair_that_is_resumed_runs_what_it_missed() {
    let mut agenda = hourly();
    agenda.pause(&pair("p", "t"), Pause { since: at(1), until: None, reason: None });
    assert_eq!(agenda.start_due(at(60)), []);

    agenda.resume(&pair("p", "t"));

    assert_eq!(agenda.start_due(at(61)).len(), 1);
    assert!(!agenda.resume(&pair("no", "such")));
}

#[test]
fn a_run_that_a_person_wants_begins_at_once_and_outlives_a_restart() {
    let mut agenda = Agenda::new(10);
    agenda.add("p", Terms::manual("district"), alone(pair("p", "t")), at(0));
    let wanted = Wanted { allow_deletes: true };

    assert_eq!(agenda.want(&pair("p", "t"), wanted, at(1)), Wish::Granted);
    let (_, plan) = agenda.take_changed().remove(0);
    let starts = agenda.start_due(at(1));

    assert_eq!(starts[0].job, Job::Run(Some(wanted)));
    assert_eq!(agenda.want(&pair("p", "t"), wanted, at(1)), Wish::AlreadyRunning);
    assert_eq!(agenda.want(&pair("no", "such"), wanted, at(1)), Wish::Unknown);
    agenda.ended(&pair("p", "t"), DONE, at(2));
    assert_eq!(agenda.start_due(at(3)), []);
    let mut again = Agenda::new(10);
    let known = Newcomer { plan: Some(plan), ..newcomer(pair("p", "t")) };
    again.add("p", Terms::manual("district"), vec![known], at(5));
    // What a person allowed he allowed then and there.
    assert_eq!(again.start_due(at(5))[0].job, Job::Run(Some(Wanted::default())));
}

#[test]
fn a_closed_connection_holds_its_pairs_and_stops_what_runs() {
    use crate::config::CronSchedule;
    let hours = |cron: &str| ClosedHours {
        cron: CronSchedule::parse(cron).unwrap(),
        length: Duration::from_secs(2 * 3600),
        time_zone: chrono_tz::Tz::UTC,
    };
    let mut agenda = Agenda::new(10);
    let once_a_day = Timetable::cron("0 0 11 * * *", "UTC").unwrap();
    agenda.add("p", terms(once_a_day), alone(pair("p", "t")), at(0));
    // From eleven to one: at the tick of eleven, that is at 60.
    agenda.set_closed(BTreeMap::from([("t".to_owned(), vec![hours("0 0 11 * * *")])]));

    assert_eq!(agenda.start_due(at(60)), []);
    let reason = agenda.waits_for(&pair("p", "t"), at(60)).unwrap();
    assert_eq!(reason, "connection `t` is closed until 2026-01-31T13:00:00Z");
    assert_eq!(agenda.start_due(at(179)), []);
    assert_eq!(agenda.start_due(at(180)).len(), 1, "once, when it opens");

    agenda.set_closed(BTreeMap::from([("district".to_owned(), vec![hours("0 5 13 * * *")])]));
    assert_eq!(agenda.to_stop(at(184)), []);
    assert_eq!(agenda.to_stop(at(185)), [(pair("p", "t"), "district".to_owned())]);
    agenda.ended(&pair("p", "t"), Ending::Closed, at(185));
    assert_eq!(agenda.start_due(at(304)), []);
    assert_eq!(agenda.start_due(at(305)).len(), 1, "it goes on when the source opens");
}

#[test]
fn a_publication_waits_for_the_runs_of_the_same_tick_of_those_before_it() {
    let mut agenda = Agenda::new(10);
    let spread = Duration::from_secs(3600);
    agenda.add("first", Terms { spread, ..nightly() }, alone(pair("first", "t")), at(0));
    let second = Terms { after: vec!["first".to_owned()], ..nightly() };
    agenda.add("second", second, alone(pair("second", "t")), at(0));
    let moment = agenda.next_of(&pair("first", "t"), at(0)).unwrap();
    assert!(moment > at(EVENING), "it has a place in the spread");

    assert_eq!(agenda.start_due(at(EVENING)), [], "the first is still to come");
    let reason = agenda.waits_for(&pair("second", "t"), at(EVENING)).unwrap();
    assert_eq!(reason, "`after`: the run of `first` has not ended");
    assert_eq!(names(&agenda.start_due(moment)), ["first"]);
    assert_eq!(agenda.start_due(at(EVENING + 90)), [], "it runs");
    agenda.ended(&pair("first", "t"), Ending::MayPass, at(EVENING + 91));

    assert_eq!(names(&agenda.start_due(at(EVENING + 91))), ["second"], "a failure is an end");
}

#[test]
fn a_comparison_by_schedule_waits_for_the_run_and_never_goes_beside_it() {
    let mut agenda = Agenda::new(10);
    let comparisons = Timetable::cron("0 0 20 * * *", "UTC").unwrap();
    let verify_schedule = "nightly".to_owned();
    let terms = Terms { comparisons, verify_schedule, ..nightly() };
    agenda.add("p", terms, alone(pair("p", "t")), at(0));

    let starts = agenda.start_due(at(EVENING));
    assert_eq!((starts.len(), starts[0].job), (1, Job::Run(None)));
    assert_eq!(agenda.start_due(at(EVENING + 1)), []);
    agenda.ended(&pair("p", "t"), DONE, at(EVENING + 2));
    assert_eq!(agenda.start_due(at(EVENING + 2))[0].job, Job::Compare);
    agenda.ended(&pair("p", "t"), Ending::Compared(Some(Found::default())), at(EVENING + 3));

    assert_eq!(agenda.start_due(at(EVENING + 4)), []);
    let (_, plan) = agenda.take_changed().remove(0);
    assert_eq!(
        plan.compared,
        Some(ComparedWhole { at: at(EVENING + 3), equal: false, unlike: Unlike::default() })
    );
    assert_eq!(plan.next_verify, Some(at(EVENING + 24 * 60)));
}

#[test]
fn a_change_of_the_configuration_touches_only_what_it_changes() {
    let mut agenda = Agenda::new(10);
    for name in ["same", "changed", "gone"] {
        agenda.add(name, terms(every(60)), alone(pair(name, "t")), at(0));
    }
    for start in agenda.start_due(at(0)) {
        if start.publication != "gone" {
            agenda.ended(&start.pairs[0], DONE, at(0));
        }
    }
    let before = agenda.next_of(&pair("same", "t"), at(0));

    agenda.add("same", terms(every(60)), alone(pair("same", "t")), at(10));
    agenda.add("changed", terms(every(20)), alone(pair("changed", "t")), at(10));
    agenda.add("new", terms(every(30)), alone(pair("new", "t")), at(10));
    agenda.keep_only(|id| id.publication != "gone");

    assert_eq!(agenda.next_of(&pair("same", "t"), at(10)), before);
    assert!(agenda.is_running(&pair("gone", "t")), "a run in flight ends");
    assert_eq!(names(&agenda.start_due(at(10))), ["changed", "new"]);
    agenda.ended(&pair("gone", "t"), Ending::MayPass, at(11));
    assert_eq!(agenda.next_of(&pair("gone", "t"), at(11)), None);
    assert_eq!(names(&agenda.start_due(at(3000))).len(), 1, "only `same` is free");
}

#[test]
fn p20_of_thousands_that_are_due_at_once_no_more_begin_than_may_and_each_has_its_turn() {
    let mut agenda = Agenda::new(32);
    for number in 0..2000 {
        let name = format!("p-{number:04}");
        add(&mut agenda, &name, every(60), vec![newcomer(pair(&name, "t"))], None, at(0));
    }
    let mut begun = std::collections::BTreeSet::new();

    let mut starts = agenda.start_due(at(0));
    while !starts.is_empty() {
        assert!(starts.len() <= 32, "{} at once", starts.len());
        assert_eq!(agenda.start_due(at(0)), [], "no place is free");
        for id in starts.iter().flat_map(|start| &start.pairs) {
            assert!(begun.insert(id.clone()), "{id} has had its turn");
            agenda.ended(id, DONE, at(0));
        }
        starts = agenda.start_due(at(0));
    }

    assert_eq!(begun.len(), 2000);
}

#[test]
fn p20_with_a_spread_thousands_of_a_night_are_due_in_no_crowd() {
    let mut agenda = Agenda::new(2000);
    let spread = Duration::from_secs(3600);
    for number in 0..2000 {
        let name = format!("p-{number:04}");
        let alone = vec![newcomer(pair(&name, "t"))];
        agenda.add(&name, Terms { spread, ..nightly() }, alone, at(0));
    }
    let mut begun = Vec::new();

    for minute in EVENING..=EVENING + 60 {
        let starts = agenda.start_due(at(minute));
        begun.push(starts.len());
        for id in starts.iter().flat_map(|start| &start.pairs) {
            agenda.ended(id, DONE, at(minute));
        }
    }

    assert_eq!(begun.iter().sum::<usize>(), 2000);
    assert!(begun.iter().all(|count| *count < 100), "about 33 a minute: {begun:?}");
}

#[test]
fn a_look_goes_past_no_pair_that_sleeps() {
    let mut agenda = Agenda::new(10_000);
    for number in 0..1000 {
        let name = format!("p-{number}");
        let pairs = vec![newcomer(pair(&name, "t"))];
        add(&mut agenda, &name, every(60), pairs, Some(at(number % 60)), at(60));
    }
    let paused = pair("p-999", "t");
    agenda.pause(&paused, Pause { since: at(60), until: Some(at(70)), reason: None });
    let ended = |agenda: &mut Agenda, starts: Vec<Start>, minute| {
        for id in starts.iter().flat_map(|start| &start.pairs) {
            agenda.ended(id, DONE, at(minute));
        }
        agenda.take_changed();
    };

    let missed = agenda.start_due(at(60));
    let awake_with_new_ones = agenda.pairs.awake().count();
    ended(&mut agenda, missed, 60);
    let of_a_minute = agenda.start_due(at(61));
    let awake_in_a_minute = agenda.pairs.awake().count();

    assert_eq!(awake_with_new_ones, 1000, "nobody has looked at them yet");
    assert_eq!(of_a_minute.len(), 17);
    assert_eq!(awake_in_a_minute, 18, "those that are due, and the one that is paused");
    ended(&mut agenda, of_a_minute, 61);
    agenda.look(at(61));
    assert_eq!(agenda.pairs.awake().count(), 1);
    agenda.look(at(70));
    assert_eq!(agenda.paused(&paused, at(70)), None);
    assert_eq!(agenda.take_changed().len(), 1, "the end of the pause");
}

#[test]
fn a_comparison_that_somebody_wants_comes_beside_those_of_the_schedule() {
    let mut agenda = Agenda::new(10);
    let comparisons = Timetable::cron("0 0 20 * * *", "UTC").unwrap();
    let verify_schedule = "nightly".to_owned();
    let terms = Terms { comparisons, verify_schedule, ..Terms::manual("district") };
    agenda.add("p", terms, alone(pair("p", "t")), at(0));
    let id = pair("p", "t");
    let pause = Pause { since: at(0), until: None, reason: None };

    agenda.pause(&id, pause);
    assert_eq!(agenda.want_comparison(&id, at(1)), Wish::Paused);
    agenda.resume(&id);
    assert_eq!(agenda.want_comparison(&id, at(EVENING)), Wish::Granted);
    assert_eq!(agenda.start_due(at(EVENING))[0].job, Job::Compare);
    agenda.ended(&id, Ending::Compared(None), at(EVENING + 1));
    assert_eq!(agenda.start_due(at(EVENING + 1))[0].job, Job::Compare, "that of the schedule");
    agenda.ended(
        &id,
        Ending::Compared(Some(Found { equal: true, ..Found::default() })),
        at(EVENING + 2),
    );

    assert_eq!(agenda.want_comparison(&id, at(EVENING + 2)), Wish::Granted);
    agenda.unwant_comparison(&id);
    assert_eq!(agenda.start_due(at(EVENING + 2)), []);
    assert_eq!(agenda.want_comparison(&pair("q", "t"), at(0)), Wish::Unknown);
}
