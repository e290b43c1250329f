//! One school year after the other.

use tidemark::sandbox::Sandbox;

use super::{Serving, Walk, enrol, students};
use crate::cli::Desk;
use crate::district;
use crate::scene::{bare, put};

pub(super) const NEW: &str = "A new school year";

#[tokio::test(flavor = "multi_thread")]
async fn a_new_year_is_published_beside_the_old_one_and_never_over_it() {
    let desk = Desk::new().await;
    desk.tidemark(&["run"]).await;
    let next = Sandbox::start(bare()).await.unwrap();
    let next_target = Sandbox::start(bare()).await.unwrap();
    put(&next, "localEducationAgencies", &district::agency());
    put(&next, "schools", &district::school());
    enrol(&next, "S-801");
    let mut walk = Walk::begin(NEW, &desk);

    let alone = std::fs::read_to_string(desk.directory.path().join("tidemark.yaml")).unwrap();
    let (connections, publications) = alone.split_once("publications:\n").unwrap();
    let reached = |name: &str, at: &Sandbox| {
        let url = at.url();
        format!(
            "  {name}: {{kind: ed-fi, url: \"{url}\", key: {{env: KEY}}, secret: {{env: SECRET}}}}\n"
        )
    };
    let of_next =
        publications.replace("district", "district-2027").replace("[state]", "[state-2027]");
    desk.configure(&format!(
        "{connections}{}{}publications:\n{publications}{of_next}",
        reached("district-2027", &next),
        reached("state-2027", &next_target),
    ));
    walk.step().await;
    enrol(&desk.source, "S-704");
    walk.step().await;
    let serving = Serving::begin(&desk).await;
    walk.beside(&serving);
    let paused = walk.step().await;
    walk.typed("tidemark resume district-to-state").await;
    serving.process.stop().await;
    desk.target.clear_requests();
    desk.configure(&alone.replace(&desk.source.url(), &next.url()));
    let mistaken = walk.step().await;
    let writes = desk.target.requests().iter().filter(|request| request.is_write()).count();
    desk.configure(&alone);
    walk.step().await;

    assert_eq!((students(&next_target), students(&desk.target)), (1, 4));
    assert!(paused.out.contains("the year is closed"), "{}", paused.out);
    assert!(mistaken.out.contains("blocked"), "{}", mistaken.out);
    assert_eq!(writes, 0, "another year is never published over this one");
    assert_eq!(desk.pair("district-to-state").await["state"], "ok");
    walk.end();
}
