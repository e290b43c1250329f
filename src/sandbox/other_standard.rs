//! Ten resources that no Ed-Fi data standard has, under key names of their own, with one extension
//! schema: whoever publishes them knows nothing of Ed-Fi's model but what the server says.

use super::SandboxError;
use super::standard::{StandardParts, read_records};

/// One resource, in the form of the data files; descriptors have the fields of all descriptors.
struct Fixture {
    endpoint: &'static str,
    json: &'static str,
    fields: &'static str,
}

const FIXTURES: [Fixture; 10] = [
    Fixture {
        endpoint: "phaseDescriptors",
        json: r#"{"name":"PhaseDescriptor","endpoint":"phaseDescriptors","project":"ed-fi","isDescriptor":true,"keyFields":{"namespace":"$.namespace","codeValue":"$.codeValue"},"allowIdentityUpdates":false}"#,
        fields: "",
    },
    Fixture {
        endpoint: "toneDescriptors",
        json: r#"{"name":"ToneDescriptor","endpoint":"toneDescriptors","project":"ed-fi","isDescriptor":true,"keyFields":{"namespace":"$.namespace","codeValue":"$.codeValue"},"allowIdentityUpdates":false}"#,
        fields: "",
    },
    Fixture {
        endpoint: "campuses",
        json: r#"{"name":"Campus","endpoint":"campuses","project":"ed-fi","isDescriptor":false,"keyFields":{"campusCode":"$.campusCode"},"allowIdentityUpdates":false}"#,
        fields: r#"[{"path":"$.campusCode","type":"Int32","required":true},{"path":"$.title","type":"String","required":true,"maxLength":60}]"#,
    },
    Fixture {
        endpoint: "learners",
        json: r#"{"name":"Learner","endpoint":"learners","project":"ed-fi","isDescriptor":false,"keyFields":{"learnerCode":"$.learnerCode"},"allowIdentityUpdates":false,"descriptors":[{"path":"$.phaseDescriptor","descriptor":"PhaseDescriptor","endpoint":"phaseDescriptors","required":false}]}"#,
        fields: r#"[{"path":"$.learnerCode","type":"String","required":true,"maxLength":32},{"path":"$.givenName","type":"String","required":true,"maxLength":75},{"path":"$.phaseDescriptor","type":"Descriptor","required":false}]"#,
    },
    Fixture {
        endpoint: "topics",
        json: r#"{"name":"Topic","endpoint":"topics","project":"ed-fi","isDescriptor":false,"keyFields":{"topicCode":"$.topicCode"},"allowIdentityUpdates":false,"references":[{"path":"$.broaderTopicReference","resource":"Topic","endpoints":["topics"],"required":false,"keys":["topicCode"]}]}"#,
        fields: r#"[{"path":"$.topicCode","type":"String","required":true,"maxLength":20},{"path":"$.label","type":"String","required":true,"maxLength":60},{"path":"$.broaderTopicReference.topicCode","type":"String","required":false,"maxLength":20}]"#,
    },
    Fixture {
        endpoint: "terms",
        json: r#"{"name":"Term","endpoint":"terms","project":"ed-fi","isDescriptor":false,"keyFields":{"campusCode":"$.campusReference.campusCode","termTitle":"$.termTitle"},"allowIdentityUpdates":true,"references":[{"path":"$.campusReference","resource":"Campus","endpoints":["campuses"],"required":true,"keys":["campusCode"]}]}"#,
        fields: r#"[{"path":"$.termTitle","type":"String","required":true,"maxLength":40},{"path":"$.startsOn","type":"Date","required":true},{"path":"$.campusReference.campusCode","type":"Int32","required":true}]"#,
    },
    Fixture {
        endpoint: "groups",
        json: r#"{"name":"Group","endpoint":"groups","project":"ed-fi","isDescriptor":false,"keyFields":{"campusCode":"$.termReference.campusCode","groupCode":"$.groupCode","termTitle":"$.termReference.termTitle"},"allowIdentityUpdates":true,"references":[{"path":"$.termReference","resource":"Term","endpoints":["terms"],"required":true,"keys":["campusCode","termTitle"]},{"path":"$.topics[*].topicReference","resource":"Topic","endpoints":["topics"],"required":true,"keys":["topicCode"]}],"collections":[{"path":"$.topics[*]","identity":["$.topicReference.topicCode"]}]}"#,
        fields: r#"[{"path":"$.groupCode","type":"String","required":true,"maxLength":20},{"path":"$.termReference.campusCode","type":"Int32","required":true},{"path":"$.termReference.termTitle","type":"String","required":true,"maxLength":40},{"path":"$.seats","type":"Int32","required":false},{"path":"$.topics[*].topicReference.topicCode","type":"String","required":true,"maxLength":20}]"#,
    },
    Fixture {
        endpoint: "placements",
        json: r#"{"name":"Placement","endpoint":"placements","project":"ed-fi","isDescriptor":false,"keyFields":{"campusCode":"$.groupReference.campusCode","groupCode":"$.groupReference.groupCode","learnerCode":"$.learnerReference.learnerCode","termTitle":"$.groupReference.termTitle"},"allowIdentityUpdates":false,"references":[{"path":"$.groupReference","resource":"Group","endpoints":["groups"],"required":true,"keys":["campusCode","groupCode","termTitle"]},{"path":"$.learnerReference","resource":"Learner","endpoints":["learners"],"required":true,"keys":["learnerCode"]}]}"#,
        fields: r#"[{"path":"$.groupReference.campusCode","type":"Int32","required":true},{"path":"$.groupReference.groupCode","type":"String","required":true,"maxLength":20},{"path":"$.groupReference.termTitle","type":"String","required":true,"maxLength":40},{"path":"$.learnerReference.learnerCode","type":"String","required":true,"maxLength":32},{"path":"$.mark","type":"Decimal","required":false}]"#,
    },
    Fixture {
        endpoint: "clubs",
        json: r#"{"name":"Club","endpoint":"clubs","project":"sample","isDescriptor":false,"keyFields":{"campusCode":"$.campusReference.campusCode","clubName":"$.clubName"},"allowIdentityUpdates":false,"references":[{"path":"$.campusReference","resource":"Campus","endpoints":["campuses"],"required":true,"keys":["campusCode"]}],"descriptors":[{"path":"$.toneDescriptor","descriptor":"ToneDescriptor","endpoint":"toneDescriptors","required":false}]}"#,
        fields: r#"[{"path":"$.clubName","type":"String","required":true,"maxLength":40},{"path":"$.campusReference.campusCode","type":"Int32","required":true},{"path":"$.toneDescriptor","type":"Descriptor","required":false}]"#,
    },
    Fixture {
        endpoint: "memberships",
        json: r#"{"name":"Membership","endpoint":"memberships","project":"sample","isDescriptor":false,"keyFields":{"campusCode":"$.clubReference.campusCode","clubName":"$.clubReference.clubName","joinedOn":"$.joinedOn","learnerCode":"$.learnerReference.learnerCode"},"allowIdentityUpdates":false,"references":[{"path":"$.clubReference","resource":"Club","endpoints":["clubs"],"required":true,"keys":["campusCode","clubName"]},{"path":"$.learnerReference","resource":"Learner","endpoints":["learners"],"required":true,"keys":["learnerCode"]}]}"#,
        fields: r#"[{"path":"$.joinedOn","type":"Date","required":true},{"path":"$.clubReference.campusCode","type":"Int32","required":true},{"path":"$.clubReference.clubName","type":"String","required":true,"maxLength":40},{"path":"$.learnerReference.learnerCode","type":"String","required":true,"maxLength":32}]"#,
    },
];

/// What must precede what: `(first, then)`, as paths.
const EDGES: [(&str, &str); 10] = [
    ("/ed-fi/phaseDescriptors", "/ed-fi/learners"),
    ("/ed-fi/toneDescriptors", "/sample/clubs"),
    ("/ed-fi/campuses", "/ed-fi/terms"),
    ("/ed-fi/campuses", "/sample/clubs"),
    ("/ed-fi/terms", "/ed-fi/groups"),
    ("/ed-fi/topics", "/ed-fi/groups"),
    ("/ed-fi/groups", "/ed-fi/placements"),
    ("/ed-fi/learners", "/ed-fi/placements"),
    ("/sample/clubs", "/sample/memberships"),
    ("/ed-fi/learners", "/sample/memberships"),
];

/// Path and order, as the JSON form of the document lists them.
const ORDER: [(&str, u8); 10] = [
    ("/ed-fi/campuses", 1),
    ("/ed-fi/phaseDescriptors", 1),
    ("/ed-fi/toneDescriptors", 1),
    ("/ed-fi/topics", 1),
    ("/ed-fi/learners", 2),
    ("/ed-fi/terms", 2),
    ("/sample/clubs", 2),
    ("/ed-fi/groups", 3),
    ("/sample/memberships", 3),
    ("/ed-fi/placements", 4),
];

/// What describes the fixture.
pub(super) fn parts() -> Result<StandardParts, SandboxError> {
    let resources: Vec<&str> = FIXTURES.iter().map(|fixture| fixture.json).collect();
    let fields: Vec<String> = FIXTURES
        .iter()
        .filter(|fixture| !fixture.fields.is_empty())
        .map(|fixture| format!("\"{}\":{}", fixture.endpoint, fixture.fields))
        .collect();
    let (resources, fields) = read_records(
        &format!("{{\"resources\":[{}]}}", resources.join(",")),
        &format!("{{{}}}", fields.join(",")),
    )?;
    Ok(StandardParts {
        resources,
        fields,
        data_models: vec![
            ("Ed-Fi".into(), "9.0.0".into(), "A data model that is no one's".into()),
            ("Sample".into(), "1.0.0".into(), "Clubs and their members".into()),
        ],
        dependencies_json: dependencies_json(),
        dependencies_graphml: dependencies_graphml(),
    })
}

fn dependencies_json() -> String {
    let entries: Vec<String> = ORDER
        .iter()
        .map(|(path, order)| {
            format!(
                "{{\"resource\":\"{path}\",\"order\":{order},\"operations\":[\"Create\",\"Update\"]}}"
            )
        })
        .collect();
    format!("[{}]", entries.join(","))
}

fn dependencies_graphml() -> String {
    let mut out = String::from(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
         <graphml xmlns=\"http://graphml.graphdrawing.org/xmlns\">\n\
         <graph id=\"EdFi Dependencies\" edgedefault=\"directed\">\n",
    );
    for (path, _) in ORDER {
        out.push_str(&format!("<node id=\"{path}\"/>\n"));
    }
    for (source, target) in EDGES {
        out.push_str(&format!("<edge source=\"{source}\" target=\"{target}\"/>\n"));
    }
    out.push_str("</graph>\n</graphml>\n");
    out
}

/// Items of every resource, in load order, as the sample is packed.
pub(super) fn items() -> String {
    let mut out = String::new();
    let mut part = |endpoint: &str, items: Vec<String>| {
        out.push_str(&format!("#{endpoint}\n{}\n", items.join("\n")));
    };
    let descriptor = |kind: &str, code: &str| {
        format!(
            r#"{{"namespace":"uri://other.example/{kind}","codeValue":"{code}","shortDescription":"{code}"}}"#
        )
    };
    part("phaseDescriptors", ["First", "Second"].map(|c| descriptor("PhaseDescriptor", c)).into());
    part("toneDescriptors", ["Calm", "Loud"].map(|c| descriptor("ToneDescriptor", c)).into());
    part(
        "campuses",
        (1..=3).map(|n| format!(r#"{{"campusCode":{n},"title":"Campus {n}"}}"#)).collect(),
    );
    part(
        "topics",
        (0..12)
            .map(|n| match n {
                0 => r#"{"topicCode":"T0","label":"Everything"}"#.to_owned(),
                _ => format!(
                    r#"{{"topicCode":"T{n}","label":"Topic {n}","broaderTopicReference":{{"topicCode":"T{}"}}}}"#,
                    (n - 1) / 2
                ),
            })
            .collect(),
    );
    part(
        "learners",
        (1..=60)
            .map(|n| {
                let phase = if n % 2 == 0 { "First" } else { "Second" };
                format!(
                    r#"{{"learnerCode":"L-{n:03}","givenName":"Learner {n}","phaseDescriptor":"uri://other.example/PhaseDescriptor#{phase}"}}"#
                )
            })
            .collect(),
    );
    part(
        "terms",
        each_term(|campus, term| {
            format!(
                r#"{{"termTitle":"{term}","startsOn":"2026-01-08","campusReference":{{"campusCode":{campus}}}}}"#
            )
        }),
    );
    part(
        "groups",
        each_term(|campus, term| {
            format!(
                r#"{{"groupCode":"G{campus}","termReference":{{"campusCode":{campus},"termTitle":"{term}"}},"seats":20,"topics":[{{"topicReference":{{"topicCode":"T{campus}"}}}}]}}"#
            )
        }),
    );
    part(
        "clubs",
        (1..=3)
            .map(|n| {
                format!(
                    r#"{{"clubName":"Club {n}","campusReference":{{"campusCode":{n}}},"toneDescriptor":"uri://other.example/ToneDescriptor#Calm"}}"#
                )
            })
            .collect(),
    );
    part(
        "memberships",
        (1..=30)
            .map(|n| {
                let club = n % 3 + 1;
                format!(
                    r#"{{"joinedOn":"2026-02-01","clubReference":{{"campusCode":{club},"clubName":"Club {club}"}},"learnerReference":{{"learnerCode":"L-{n:03}"}}}}"#
                )
            })
            .collect(),
    );
    part(
        "placements",
        (1..=60)
            .map(|n| {
                let campus = n % 3 + 1;
                format!(
                    r#"{{"groupReference":{{"campusCode":{campus},"groupCode":"G{campus}","termTitle":"Spring"}},"learnerReference":{{"learnerCode":"L-{n:03}"}},"mark":{n}.50}}"#
                )
            })
            .collect(),
    );
    out
}

fn each_term(item: impl Fn(u8, &str) -> String) -> Vec<String> {
    let mut items = Vec::new();
    for campus in 1..=3 {
        for term in ["Spring", "Autumn"] {
            items.push(item(campus, term));
        }
    }
    items
}
