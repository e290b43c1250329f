//! `tidemark demo`: the whole job on this machine, told as a story. Between simulated APIs it
//! types the commands that a person would type, and ends with 0 only if each did what the story
//! says.
//!
//! What lives here: the story. What does not: the APIs and the files it plays on ([`stage`]), what
//! must have come of a command ([`expect`]), and how it looks ([`mod@tell`]).

mod expect;
mod stage;
mod tell;

use tokio::time::Instant;

use crate::domain::Outcome;
use crate::sandbox::Sandbox;
use crate::sandbox::edits::{Day, day_of_edits};
use crate::telemetry;

use super::arguments::{
    Output, ParkedCommand, ParkedFilterArguments, ParkedListArguments, ParkedShowArguments,
    RunArguments, Selector, VerifyArguments,
};
use super::context::Context;
use super::failure::{Exit, Failure};
use super::show::Column;
use super::signals::Signals;
use super::{parked, run as run_command, show, verify as verify_command};

use stage::Stage;
use tell::{chapter, list, quote, say, typed};

pub(super) async fn tell(context: &Context) -> Result<Exit, Failure> {
    if context.output() == Output::Json {
        return Err(Failure::usage("`demo` tells a story and has no JSON; leave `--output` out"));
    }
    context.log_quietly()?;
    let mut signals = Signals::listen()?;
    tokio::select! {
        // Asked first, so that Ctrl-C ends the story and not only the command it is at.
        biased;
        () = signals.received() => Err(Failure::failed("the demo was interrupted")),
        told = story(context) => told.map(|()| Exit::Done),
    }
}

async fn story(context: &Context) -> Result<(), Failure> {
    let began = Instant::now();
    say("Tidemark keeps target APIs in step with a source API. This is the whole job on this \
         machine, with real sample data and over real HTTP on the loopback address. It takes \
         about a minute and leaves nothing behind.")?;
    let stage = three_apis(context).await?;
    configuration(&stage)?;
    first_publication(&stage).await?;
    let published = stage.district.newest();
    let day = day_at_the_source(&stage)?;
    let cause = stage.region.fault(day.refusal());
    difference(&stage, published).await?;
    what_waits(&stage).await?;
    stage.region.repair(cause);
    repaired(&stage).await?;
    comparison(&stage).await?;
    let lasted = began.elapsed().as_secs_f64();
    stage.close().await;
    farewell(lasted)
}

async fn three_apis(context: &Context) -> Result<Stage, Failure> {
    chapter(1, "Three APIs")?;
    say("A district's API holds a school year of sample data. Two others are empty: that of a \
         state, as new as the district's and strict about what it is sent, and that of a region, \
         an older version with other paths and other error messages.")?;
    let began = Instant::now();
    let stage = Stage::set(context).await?;
    let row = |name: &str, role: &str, version: &str, sandbox: &Sandbox| {
        vec![
            format!("  {name}"),
            role.to_owned(),
            format!("Ed-Fi ODS/API {version}"),
            show::number(held(sandbox)),
            sandbox.url(),
        ]
    };
    let columns = [
        Column::Text("  name"),
        Column::Text("is"),
        Column::Text("plays"),
        Column::Number("items"),
        Column::Text("url"),
    ];
    let table = show::table(
        &columns,
        vec![
            row("district", "source", "7.3", &stage.district),
            row("state", "target", "7.3, strict", &stage.state),
            row("region", "target", "6.1", &stage.region),
        ],
    );
    show::answer(&format!("\n{table}\n"))?;
    say(&format!(
        "They started in {}. The items that the targets have already are the school years, which \
         no client may create. `tidemark sandbox` starts such an API for other clients too.",
        show::seconds(began.elapsed().as_secs_f64())
    ))?;
    Ok(stage)
}

fn configuration(stage: &Stage) -> Result<(), Failure> {
    chapter(2, "The configuration")?;
    say("This is all of it. A connection is an API, a publication joins one source to its \
         targets; everything else has a default. Secrets come from the environment or from files.")?;
    quote(&stage.configuration)
}

async fn first_publication(stage: &Stage) -> Result<(), Failure> {
    chapter(3, "The first publication")?;
    say("Everything is read once, from a snapshot that holds still, and written to both targets \
         at once: what others refer to first, so that no reference points to nothing.")?;
    let began = Instant::now();
    run(stage, Exit::Done).await?;
    let took = began.elapsed().as_secs_f64();

    let mut written = 0;
    for (name, target) in stage.targets() {
        let run = stage.last_run(name).await?;
        expect::outcome(name, &run, Outcome::Complete)?;
        written += run.stages.upserts.applied;
        expect::count(&format!("the items at `{name}`"), held(target), held(&stage.district))?;
    }
    show::answer("\n")?;
    say(&format!(
        "That is {} in {}, or {} a second, first contact, tokens and the state on disk included.",
        show::count(written, "item"),
        show::seconds(took),
        show::number(per_second(written, took))
    ))
}

fn day_at_the_source(stage: &Stage) -> Result<Day, Failure> {
    chapter(4, "A day at the source")?;
    say("People work at the district. This is what happens there until the next night:")?;
    let day = day_of_edits(&stage.district);
    let day = day.map_err(|error| Failure::failed(telemetry::chain(&error)))?;
    show::answer("\n")?;
    list(&day.story)?;
    Ok(day)
}

async fn difference(stage: &Stage, published: i64) -> Result<(), Failure> {
    chapter(5, "The difference")?;
    let told = stage.district.told_since(published);
    let (items, key_changes, deletes) =
        (show::many(told.items), show::many(told.key_changes), show::many(told.deletes));
    say(&format!(
        "Tidemark remembers how far each target is, as a change version of the source: its \
         watermark. Now only what is newer is read: {}, {} and {}. Keys first, then content, \
         then deletes, children before parents; nothing is deleted that the source has not named.",
        show::count(key_changes, "changed key"),
        show::count(items, "changed item"),
        show::count(deletes, "delete")
    ))?;
    run(stage, Exit::Parked).await?;

    for (name, wanted, refused) in [("state", Outcome::Complete, 0), ("region", Outcome::Parked, 1)]
    {
        let run = stage.last_run(name).await?;
        expect::outcome(name, &run, wanted)?;
        // An item that several things name is taken up for each of them.
        let stages = run.stages;
        let settled = stages.upserts.applied + stages.upserts.parked;
        expect::at_least("the changed keys", stages.key_changes.read, key_changes)?;
        expect::at_least("the changed items", settled, items)?;
        expect::count("the items that were parked", stages.upserts.parked, refused)?;
        expect::at_least("the deletes", stages.deletes.applied, deletes)?;
    }
    show::answer("\n")?;
    say(
        "What followed its parent when that got its new key at the target needed nothing more, and \
         counts as skipped.",
    )
}

async fn what_waits(stage: &Stage) -> Result<(), Failure> {
    chapter(6, "What waits")?;
    say(
        "One item that a target will not take does not hold up the others. It is parked: its key \
         is kept, with what the target said, and its content is not. The watermark of `region` \
         has moved on all the same; `tidemark run` says so with exit status 3.",
    )?;
    expect::count("the items that wait for `state`", waiting(stage, "state").await?, 0)?;
    let parked = stage.parked("region").await?;
    expect::count("the items that wait for `region`", show::many(parked.len()), 1)?;

    typed("parked list")?;
    let command = ParkedCommand::List(ParkedListArguments {
        selector: Selector::default(),
        filter: ParkedFilterArguments::default(),
        every: false,
        group_by: Vec::new(),
    });
    expect::exit("parked list", parked::run(&stage.commands, command).await?, Exit::Done)?;

    let id = parked::short(&parked[0].id);
    typed(&format!("parked show {id}"))?;
    let command =
        ParkedCommand::Show(ParkedShowArguments { ids: vec![id.to_owned()], live: false });
    expect::exit("parked show", parked::run(&stage.commands, command).await?, Exit::Done)
}

async fn repaired(stage: &Stage) -> Result<(), Failure> {
    chapter(7, "The cause is repaired")?;
    say("Somebody at the region lifts the rule that was in the way. Nothing has to be told to \
         Tidemark: the next run reads the item again from the source, as it is by then, and tries \
         once more. Nothing else is new, so nothing else is sent.")?;
    run(stage, Exit::Done).await?;
    for (name, _) in stage.targets() {
        expect::count(
            &format!("the items that wait for `{name}`"),
            waiting(stage, name).await?,
            0,
        )?;
    }
    Ok(())
}

async fn comparison(stage: &Stage) -> Result<(), Failure> {
    chapter(8, "Source and targets compared")?;
    say("Does all of it agree? Both ends are read again, key by key and body by body, by the \
         meaning of the JSON.")?;
    typed("verify --content")?;
    let arguments = VerifyArguments {
        selector: Selector::default(),
        resources: Vec::new(),
        content: true,
        repair: false,
        delete_extra: false,
        allow_deletes: false,
        yes: false,
    };
    let ended = verify_command::run(&stage.commands, arguments).await?;
    expect::exit("verify --content", ended, Exit::Done)?;
    for (name, target) in stage.targets() {
        expect::same_content(&stage.district, name, target)?;
    }
    Ok(())
}

fn farewell(lasted: f64) -> Result<(), Failure> {
    show::answer("\n")?;
    say(&format!(
        "The demo took {} and everything in it went as it should. To go on:",
        show::seconds(lasted)
    ))?;
    show::answer("\n")?;
    list(&[
        format!("this program is `{}`: put its folder on the path;", program()),
        "`README.md` goes on with two APIs, your own or two of these;".to_owned(),
        "`tidemark config example` prints every key of a configuration, explained;".to_owned(),
        "`tidemark sandbox` starts one of these APIs to try things out on;".to_owned(),
        "`tidemark --help` lists the commands.".to_owned(),
    ])
}

/// Where this program is, from here where it is below.
fn program() -> String {
    let Ok(program) = std::env::current_exe() else { return "tidemark".to_owned() };
    let here = std::env::current_dir().unwrap_or_default();
    program.strip_prefix(here).unwrap_or(&program).display().to_string()
}

/// `tidemark run`, and how it should end.
async fn run(stage: &Stage, wanted: Exit) -> Result<(), Failure> {
    typed("run")?;
    let arguments = RunArguments {
        selector: Selector::default(),
        first: false,
        max_running: None,
        allow_deletes: false,
    };
    expect::exit("run", run_command::run(&stage.commands, arguments).await?, wanted)
}

async fn waiting(stage: &Stage, target: &str) -> Result<u64, Failure> {
    Ok(show::many(stage.parked(target).await?.len()))
}

fn held(sandbox: &Sandbox) -> u64 {
    let counts = sandbox.resources().into_iter().map(|resource| sandbox.count(&resource));
    show::many(counts.sum())
}

fn per_second(items: u64, seconds: f64) -> u64 {
    let milliseconds = std::time::Duration::from_secs_f64(seconds).as_millis().max(1);
    u64::try_from(u128::from(items) * 1000 / milliseconds).unwrap_or(u64::MAX)
}
