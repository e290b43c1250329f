//! A desk over HTTP against the desk behind it: every question and order, there and back.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use secrecy::SecretString;
use tidemark::cli::remote::RemoteDesk;
use tidemark::clock::Clock;
use tidemark::desk::{
    Approval, Caller, Comparing, Desk, DeskError, Moved, ParkedChoice, ParkedFilter, Part, Role,
    Selectors,
};
use tidemark::domain::{ChangeVersion, ParkReason, ResourcePath};
use tidemark::http::Url;
use tidemark::state::{ErasedKey, ParkStatus};

use super::desk::{KEY, Scripted, moment, pair};
use super::house::House;

fn remote(house: &House, token: Option<&str>) -> RemoteDesk {
    let url = Url::parse(&format!("http://{}/", house.address())).unwrap();
    let token = token.map(|token| SecretString::from(token.to_owned()));
    RemoteDesk::at(url, token, Clock::system()).unwrap()
}

fn admin() -> Caller {
    Caller { name: "loopback".to_owned(), role: Role::Admin, labels: BTreeMap::new() }
}

fn all() -> Comparing {
    Comparing::default()
}

fn erased() -> ErasedKey {
    let key = serde_json::from_value(serde_json::json!({"studentUniqueId": KEY, "year": 2026}));
    ErasedKey { resource: ResourcePath::parse("/ed-fi/students").unwrap(), key: key.unwrap() }
}

type Asked<'a> = Pin<Box<dyn Future<Output = String> + Send + 'a>>;
type Question = (&'static str, for<'a> fn(&'a dyn Desk, &'a Caller) -> Asked<'a>);

/// The answer as text: what can be told apart here can be told apart by a command.
async fn told<T: Debug>(answer: impl Future<Output = Result<T, DeskError>>) -> String {
    format!("{:?}", answer.await)
}

/// As [`told`], of an answer whose keys `Debug` does not show.
async fn told_whole<T: Debug + serde::Serialize>(
    answer: impl Future<Output = Result<T, DeskError>>,
) -> String {
    match answer.await {
        Ok(answer) => serde_json::to_string(&answer).unwrap(),
        error => format!("{error:?}"),
    }
}

fn everything_selected() -> Selectors {
    Selectors {
        publications: vec!["district-*".to_owned(), "other".to_owned()],
        labels: vec![("a".to_owned(), "b=c d&e".to_owned()), ("f".to_owned(), String::new())],
        connection: Some("state".to_owned()),
        target: Some("a target".to_owned()),
    }
}

fn everything_filtered() -> ParkedFilter {
    ParkedFilter {
        resource: Some("/ed-fi/students".to_owned()),
        reason: Some(ParkReason::WaitsForNewKey),
        status: Some(ParkStatus::Dead),
    }
}

fn part() -> Part {
    Part { after: Some("a.b.c".to_owned()), limit: 3 }
}

fn choices() -> [ParkedChoice; 4] {
    let ids = vec!["one".to_owned(), "two".to_owned()];
    [
        ParkedChoice { ids: ids.clone(), which: None },
        ParkedChoice { ids: vec![], which: Some(Default::default()) },
        ParkedChoice { ids: ids.clone(), which: Some(Default::default()) },
        ParkedChoice { ids, which: Some((everything_selected(), everything_filtered())) },
    ]
}

const QUESTIONS: &[Question] = &[
    ("pairs", |desk, by| {
        Box::pin(async move { told(desk.pairs(by, &Selectors::default())).await })
    }),
    ("pairs, selected", |desk, by| {
        Box::pin(async move { told(desk.pairs(by, &everything_selected())).await })
    }),
    ("parked", |desk, by| {
        Box::pin(async move {
            let (which, filter) = (everything_selected(), everything_filtered());
            told_whole(desk.parked(by, &which, &filter, &part())).await
        })
    }),
    ("parked, all", |desk, by| {
        Box::pin(async move {
            let (which, filter) = Default::default();
            told_whole(desk.parked(by, &which, &filter, &Part::first())).await
        })
    }),
    ("parked_item", |desk, by| {
        Box::pin(async move { told_whole(desk.parked_item(by, "a/b ?%")).await })
    }),
    ("retry", |desk, by| {
        Box::pin(async move {
            let mut answers = Vec::new();
            for choice in choices() {
                answers.push(told(desk.retry(by, &choice)).await);
            }
            answers.join("\n")
        })
    }),
    ("discard", |desk, by| {
        Box::pin(async move {
            let mut answers = Vec::new();
            for choice in choices() {
                answers.push(told(desk.discard(by, &choice, Some("a reason"))).await);
                answers.push(told(desk.discard(by, &choice, None)).await);
            }
            answers.join("\n")
        })
    }),
    ("move_watermark, reset", |desk, by| {
        Box::pin(
            async move { told(desk.move_watermark(by, &pair(), Moved::Reset, None, "r")).await },
        )
    }),
    ("move_watermark, from there", |desk, by| {
        Box::pin(async move {
            let (to, from) = (Moved::To(ChangeVersion(0)), Some(Some(ChangeVersion(230))));
            told(desk.move_watermark(by, &pair(), to, from, "r")).await
        })
    }),
    ("move_watermark, from elsewhere", |desk, by| {
        Box::pin(async move {
            told(desk.move_watermark(by, &pair(), Moved::Before(moment()), Some(None), "r")).await
        })
    }),
    ("approve", |desk, by| {
        Box::pin(async move {
            let mut answers = Vec::new();
            for approval in [
                Approval::Deletes { resource: None },
                Approval::Deletes { resource: Some("students".to_owned()) },
                Approval::SameData,
                Approval::StartOver,
            ] {
                answers.push(told(desk.approve(by, &pair(), &approval, "r")).await);
            }
            answers.join("\n")
        })
    }),
    ("would_approve", |desk, by| {
        Box::pin(async move {
            let mut answers = Vec::new();
            for approval in [
                Approval::Deletes { resource: None },
                Approval::Deletes { resource: Some("stu dents".to_owned()) },
                Approval::SameData,
                Approval::StartOver,
            ] {
                answers.push(told(desk.would_approve(by, &pair(), &approval)).await);
            }
            answers.join("\n")
        })
    }),
    ("process", |desk, by| Box::pin(async move { told(desk.process(by)).await })),
    ("set_log_level", |desk, by| {
        let lasting = std::time::Duration::from_secs(90 * 60);
        Box::pin(async move { told(desk.set_log_level(by, "trace", lasting)).await })
    }),
    ("pair", |desk, by| Box::pin(async move { told(desk.pair(by, &pair())).await })),
    ("look", |desk, by| Box::pin(async move { told_whole(desk.look(by, "a/b ?%")).await })),
    ("attempt", |desk, by| Box::pin(async move { told_whole(desk.attempt(by, "one")).await })),
    ("records_with", |desk, by| {
        Box::pin(async move { told(desk.records_with(by, &erased())).await })
    }),
    ("forget_key", |desk, by| {
        Box::pin(async move { told(desk.forget_key(by, &erased(), Some("a reason"))).await })
    }),
    ("forget_key, without a reason", |desk, by| {
        Box::pin(async move { told(desk.forget_key(by, &erased(), None)).await })
    }),
    ("plan", |desk, by| Box::pin(async move { told(desk.plan(by, &pair())).await })),
    ("check", |desk, by| {
        Box::pin(async move { told(desk.check(by, &everything_selected())).await })
    }),
    ("verification", |desk, by| {
        Box::pin(async move { told(desk.verification(by, &pair())).await })
    }),
    ("report", |desk, by| Box::pin(async move { told(desk.report(by, &pair())).await })),
    ("compare", |desk, by| {
        Box::pin(async move {
            let mut answers = Vec::new();
            for (repair, delete_extra) in [(false, false), (true, false), (true, true)] {
                let resources = vec!["students".to_owned()];
                let wanted = Comparing { resources, content: true, repair, delete_extra, ..all() };
                answers.push(told(desk.compare(by, &pair(), &wanted)).await);
            }
            answers.push(told(desk.compare(by, &pair(), &all())).await);
            answers.join("\n")
        })
    }),
    ("comparison", |desk, by| {
        Box::pin(async move { told(desk.comparison(by, "comparison-1")).await })
    }),
    ("runs", |desk, by| {
        Box::pin(async move { told(desk.runs(by, &everything_selected(), &part())).await })
    }),
    ("run", |desk, by| Box::pin(async move { told(desk.run(by, "run-1")).await })),
    ("start", |desk, by| {
        Box::pin(async move { told(desk.start(by, "a", &["b".to_owned()], true)).await })
    }),
    ("start, running", |desk, by| {
        Box::pin(async move { told(desk.start(by, "busy", &[], false)).await })
    }),
    ("pause", |desk, by| {
        Box::pin(async move { told(desk.pause(by, &pair(), Some(moment()), Some("r"))).await })
    }),
    ("pause, for good", |desk, by| {
        Box::pin(async move { told(desk.pause(by, &pair(), None, None)).await })
    }),
    ("resume", |desk, by| Box::pin(async move { told(desk.resume(by, &pair())).await })),
    ("audit", |desk, by| {
        Box::pin(async move { told(desk.audit(by, Some(moment()), &part())).await })
    }),
    ("audit, all", |desk, by| {
        Box::pin(async move { told(desk.audit(by, None, &Part::first())).await })
    }),
    ("export", |desk, by| Box::pin(async move { told(desk.export(by)).await })),
    ("import", |desk, by| {
        Box::pin(async move { told(desk.import(by, "{\"line\":\"ä\"}\n", true)).await })
    }),
    ("import, new", |desk, by| Box::pin(async move { told(desk.import(by, "{}", false)).await })),
    ("move_state", |desk, by| Box::pin(async move { told(desk.move_state(by, "a", "b")).await })),
    ("forget_state", |desk, by| {
        Box::pin(async move { told(desk.forget_state(by, &pair(), Some("a reason"))).await })
    }),
    ("forget_state, orphan", |desk, by| {
        Box::pin(async move { told(desk.forget_state(by, &pair(), None)).await })
    }),
];

/// What the server looks at beside what was asked: what a run or a comparison came to.
const BESIDE: [Question; 2] = [
    ("cancel", |desk, by| Box::pin(async move { told(desk.cancel(by, "run-1")).await })),
    ("cancel_comparison", |desk, by| {
        Box::pin(async move { told(desk.cancel_comparison(by, "comparison-1")).await })
    }),
];

#[tokio::test]
async fn a_question_over_http_is_the_same_question_and_has_the_same_answer() {
    let house = House::on_loopback().await;
    let remote = remote(&house, None);
    let here = Arc::new(Scripted::default());
    for (case, ask) in QUESTIONS {
        let expected = ask(&*here, &admin()).await;
        let answer = ask(&remote, &admin()).await;

        assert_eq!(answer, expected, "{case}");
        let mut asked = house.desk.asked();
        if *case == "move_watermark, from elsewhere" {
            // It is looked at once more, for the status of the answer.
            asked.pop();
        }
        assert_eq!(asked, here.asked(), "{case}");
    }
    for (case, ask) in BESIDE {
        let expected = ask(&*here, &admin()).await;
        let answer = ask(&remote, &admin()).await;

        assert_eq!(answer, expected, "{case}");
        let (asked, expected) = (house.desk.asked(), here.asked());
        assert!(asked.contains(&expected[0]), "{case}: {asked:?}");
    }
}

#[tokio::test]
async fn a_refusal_over_http_is_the_same_refusal() {
    let house = House::on_loopback().await;
    let remote = remote(&house, None);
    let here = Scripted::default();
    for error in [
        DeskError::NotThere("there is none".to_owned()),
        DeskError::Refused("it makes no sense".to_owned()),
        DeskError::Conflict("it is otherwise".to_owned()),
        DeskError::Forbidden { needed: Role::Admin },
        DeskError::NotNow("it is stopping".to_owned()),
        DeskError::Failed("the source does not answer".to_owned()),
        DeskError::State("the disk is full".to_owned()),
    ] {
        house.desk.fail(error.clone());
        here.fail(error.clone());
        for (case, ask) in QUESTIONS.iter().chain(&BESIDE) {
            let answer = ask(&remote, &admin()).await;

            // The second look at a watermark that has moved fails with the same error.
            assert_eq!(answer, ask(&here, &admin()).await, "{case}: {error:?}");
        }
    }
}

#[tokio::test]
async fn a_caller_is_who_its_token_says_and_not_who_it_says() {
    let house = House::for_everybody().await;
    let items = async |token| {
        let (which, filter) = Default::default();
        remote(&house, token).parked(&admin(), &which, &filter, &Part::first()).await
    };

    let nobody = items(None).await;
    let viewer = items(Some("viewer")).await.unwrap();
    let operator = items(Some("operator")).await.unwrap();
    let refused = remote(&house, Some("viewer")).export(&admin()).await;

    assert!(matches!(nobody, Err(DeskError::Refused(_))), "{nobody:?}");
    assert!(viewer.items[0].key.is_none());
    let key = operator.items[0].key.as_ref().unwrap();
    assert_eq!(key.get("studentUniqueId"), Some(KEY));
    assert_eq!(refused, Err(DeskError::Forbidden { needed: Role::Admin }));
}

#[tokio::test]
async fn where_no_daemon_answers_there_is_nobody_to_ask() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let url = Url::parse(&format!("http://{address}")).unwrap();

    let answer = RemoteDesk::at(url, None, Clock::system())
        .unwrap()
        .pairs(&admin(), &Selectors::default())
        .await;

    assert!(matches!(answer, Err(DeskError::NotNow(_))), "{answer:?}");
}
