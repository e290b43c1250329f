//! `tidemark verify`: compares source and target; 0 only when they are equal.

use tokio_util::sync::CancellationToken;

use crate::daemon::{self, Assembly};
use crate::domain::{ResourceGraph, ResourcePath};
use crate::engine::verify::{Compared, Verification, VerifyOptions, verify};
use crate::engine::{Pair, RunError};

use super::arguments::{Output, VerifyArguments};
use super::choose;
use super::context::Context;
use super::failure::{Exit, Failure};
use super::show::{self, Column};
use super::signals::Signals;

pub(super) async fn run(context: &Context, arguments: VerifyArguments) -> Result<Exit, Failure> {
    context.log_quietly()?;
    let signals = Signals::listen()?;
    let assembly = context.assembly()?;
    let writes = arguments.repair || arguments.delete_extra;
    let pairs = if writes && !choose::says_nothing(&arguments.selector) {
        choose::pairs_to_change(&assembly, &arguments.selector, arguments.yes, "`verify --repair`")?
    } else {
        choose::pairs(&assembly, &arguments.selector)?
    };
    if writes && pairs.len() > 1 && !arguments.yes {
        return Err(Failure::usage(format!(
            "that would write to the targets of {} pairs; add `--yes` if that is meant",
            pairs.len()
        )));
    }
    context.require_secrets(&assembly.config, &pairs)?;

    let stop = CancellationToken::new();
    let work = verify_all(&assembly, &pairs, &arguments, &stop);
    let verified = signals.heeding(&stop, || show::note("stopping"), work).await?;

    let all_equal =
        verified.len() == pairs.len() && verified.iter().all(|verification| verification.equal);
    match context.output() {
        Output::Json => show::json("verify", &verified)?,
        Output::Text => {
            show::answer(&verified.iter().map(one).collect::<Vec<_>>().join("\n"))?;
        }
    }
    Ok(if all_equal { Exit::Done } else { Exit::Failed })
}

/// One pair after the other. A pair that cannot be compared is said so and left out.
async fn verify_all(
    assembly: &Assembly,
    pairs: &[Pair],
    arguments: &VerifyArguments,
    stop: &CancellationToken,
) -> Result<Vec<Verification>, Failure> {
    let around = assembly.surroundings(Vec::new(), stop.clone());
    let directory = daemon::spool_directory(&assembly.config);
    let mut verified = Vec::new();
    for pair in pairs {
        let options = VerifyOptions {
            resources: resources(pair, &arguments.resources).await?,
            content: arguments.content || compares_content(assembly, pair),
            repair: arguments.repair,
            delete_extra: arguments.delete_extra,
            allow_deletes: arguments.allow_deletes,
        };
        match verify(&around, pair, &options, &directory).await {
            Ok(verification) => {
                if let Some(began) = verification.goes_on_from {
                    let began = began.format("%Y-%m-%d %H:%M UTC");
                    show::note(&format!("{}: went on with a comparison begun {began}", pair.id));
                }
                verified.push(verification);
            }
            Err(RunError::Interrupted) => {
                show::error(&format!(
                    "{}: interrupted before it was compared; the same command goes on from here",
                    pair.id
                ));
                break;
            }
            Err(error) => show::error(&format!("{}: {}", pair.id, error.message())),
        }
    }
    Ok(verified)
}

/// `verify.content` of the pair's publication.
fn compares_content(assembly: &Assembly, pair: &Pair) -> bool {
    let mut publications = assembly.config.publications.iter();
    publications.any(|(name, publication)| {
        name.as_str() == pair.id.publication && publication.verify.content
    })
}

/// The names of `--resource` as the APIs spell them.
async fn resources(pair: &Pair, names: &[String]) -> Result<Vec<ResourcePath>, Failure> {
    if names.is_empty() {
        return Ok(Vec::new());
    }
    let source = pair.source.resources().await.map_err(RunError::Source)?;
    let target = pair.target.resources().await.map_err(RunError::Target)?;
    let both = target.joined_with(&source);
    names.iter().map(|name| resource(&both, name)).collect()
}

fn resource(known: &ResourceGraph, name: &str) -> Result<ResourcePath, Failure> {
    let wanted = if name.starts_with('/') { name.to_owned() } else { format!("/ed-fi/{name}") };
    let found = known.resources().find(|resource| resource.as_str() == wanted);
    let found = found.or_else(|| known.resources().find(|r| r.collection() == name));
    found.cloned().ok_or_else(|| {
        let near = known
            .resources()
            .map(|resource| (strsim::damerau_levenshtein(resource.as_str(), &wanted), resource))
            .min();
        let hint = near.map(|(_, near)| format!("; did you mean `{near}`?")).unwrap_or_default();
        Failure::usage(format!("neither end has a resource `{name}`{hint}"))
    })
}

/// The sums, then the resources that differ; the others are only counted.
fn one(verification: &Verification) -> String {
    let pair = format!("{} → {}", verification.publication, verification.target);
    let items = verification.resources.iter().map(|resource| resource.source).sum();
    let compared = format!(
        "{} of {}",
        show::count(items, "item"),
        show::count(show::many(verification.resources.len()), "resource")
    );
    if verification.equal {
        return format!("{pair}: equal: {compared}\n");
    }
    let differs = |resource: &&Compared| {
        let Compared { missing, extra, different, parked, .. } = resource;
        missing + extra.unwrap_or(0) + different + parked > 0
    };
    let rows = verification.resources.iter().filter(differs).map(|resource| {
        vec![
            format!("  {}", resource.resource),
            show::number(resource.source),
            show::number(resource.target),
            show::number(resource.missing),
            show::or_dash(resource.extra.map(show::number)),
            show::number(resource.different),
            show::number(resource.parked),
        ]
    });
    let columns = [
        Column::Text("  resource"),
        Column::Number("source"),
        Column::Number("target"),
        Column::Number("missing"),
        Column::Number("extra"),
        Column::Number("different"),
        Column::Number("parked"),
    ];
    let table = show::table(&columns, rows.collect());
    let next = if verification.resources.iter().any(|r| r.missing + r.different > 0) {
        format!(
            "\nto publish what is missing or different: tidemark verify {} --target {} --repair\n",
            verification.publication, verification.target
        )
    } else if verification.resources.iter().any(|r| r.parked > 0) {
        "\nwhat is missing is parked: see `tidemark parked list`\n".to_owned()
    } else {
        String::new()
    };
    format!("{pair}: NOT equal: {compared}\n\n{table}{next}")
}
