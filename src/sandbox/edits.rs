//! A day of edits at a source that holds the sample data, for the demo: what a school district
//! does between two nights, and one item that a target will not take.

use serde_json::{Value, json};

use super::{Fault, Harm, Refusal, Refused, Sandbox};

/// The schools of the sample.
const HIGH_SCHOOL: u32 = 255_901_001;
const MIDDLE_SCHOOL: u32 = 255_901_044;
const ELEMENTARY_SCHOOL: u32 = 255_901_107;

/// What was done, for people to read, and the item that is to be refused.
#[derive(Clone, Debug)]
pub struct Day {
    /// One sentence an edit, without names of people.
    pub story: Vec<String>,
    /// The resource of the item that [`Day::refusal`] refuses.
    pub refused_resource: String,
    /// Its key, as a flat object.
    pub refused_key: Value,
}

impl Day {
    /// The fault to give to a target: it refuses the item until it is repaired.
    pub fn refusal(&self) -> Fault {
        let why = "The title is not in the region's catalogue.".to_owned();
        let mut fault = Fault::on(
            &self.refused_resource,
            Harm::Refuse(Refusal::Member("courseTitle".to_owned(), why)),
        )
        .method("POST");
        for (name, value) in self.refused_key.as_object().into_iter().flatten() {
            let plain = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            fault = fault.key(name, &plain);
        }
        fault
    }
}

/// Makes the edits. The sandbox must hold the sample as it was loaded.
pub fn day_of_edits(source: &Sandbox) -> Result<Day, Refused> {
    let mut story = Vec::new();
    enrol_new_students(source, &mut story)?;
    add_a_descriptor_and_use_it(source, &mut story)?;
    correct_students(source, &mut story)?;
    move_the_class_periods(source, &mut story)?;
    swap_two_rooms(source, &mut story)?;
    rename_a_session(source, &mut story)?;
    rename_a_section(source, &mut story)?;
    close_a_section(source, &mut story)?;
    end_and_begin_again(source, &mut story)?;
    let (refused_resource, refused_key) = retitle_courses(source, &mut story)?;
    Ok(Day { story, refused_resource, refused_key })
}

fn enrol_new_students(source: &Sandbox, story: &mut Vec<String>) -> Result<(), Refused> {
    for number in 1..=3 {
        let id = format!("7000{number}");
        source.upsert(
            "/ed-fi/students",
            &json!({"studentUniqueId": id, "birthDate": format!("2013-0{number}-15"),
                "firstName": "New", "lastSurname": format!("Student {number}")}),
        )?;
        source.upsert(
            "/ed-fi/studentSchoolAssociations",
            &json!({"studentReference": {"studentUniqueId": id},
                "schoolReference": {"schoolId": ELEMENTARY_SCHOOL}, "entryDate": "2022-01-10",
                "entryGradeLevelDescriptor": "uri://ed-fi.org/GradeLevelDescriptor#Third grade"}),
        )?;
    }
    story.push("Three new students were enrolled at the elementary school.".to_owned());
    Ok(())
}

fn add_a_descriptor_and_use_it(source: &Sandbox, story: &mut Vec<String>) -> Result<(), Refused> {
    source.upsert(
        "/ed-fi/programTypeDescriptors",
        &json!({"namespace": "uri://gbisd.edu/ProgramTypeDescriptor", "codeValue": "Robotics",
            "shortDescription": "Robotics"}),
    )?;
    source.upsert(
        "/ed-fi/programs",
        &json!({"programName": "Robotics Club", "programId": "901",
            "programTypeDescriptor": "uri://gbisd.edu/ProgramTypeDescriptor#Robotics",
            "educationOrganizationReference": {"educationOrganizationId": HIGH_SCHOOL}}),
    )?;
    story.push("A program of a new type was founded; its descriptor is new too.".to_owned());
    Ok(())
}

fn correct_students(source: &Sandbox, story: &mut Vec<String>) -> Result<(), Refused> {
    let students = source.items("/ed-fi/students");
    for student in students.iter().take(40) {
        let mut corrected = student.clone();
        corrected["birthCity"] = json!("Grand Bend");
        source.upsert("/ed-fi/students", &corrected)?;
    }
    story.push("The place of birth of 40 students was corrected.".to_owned());
    Ok(())
}

/// A chain: each takes the name that the one before it just gave up.
fn move_the_class_periods(source: &Sandbox, story: &mut Vec<String>) -> Result<(), Refused> {
    let period = |name: &str| json!({"classPeriodName": name, "schoolId": HIGH_SCHOOL});
    for (old, new) in [
        ("03 - Traditional", "03 - Extended"),
        ("02 - Traditional", "03 - Traditional"),
        ("01 - Traditional", "02 - Traditional"),
    ] {
        source.rename("/ed-fi/classPeriods", &period(old), &period(new))?;
    }
    story.push(
        "Three class periods of the high school were renamed in a chain, each to the name that \
         another had; the sections that meet in them follow."
            .to_owned(),
    );
    Ok(())
}

fn swap_two_rooms(source: &Sandbox, story: &mut Vec<String>) -> Result<(), Refused> {
    let room =
        |code: &str| json!({"classroomIdentificationCode": code, "schoolId": ELEMENTARY_SCHOOL});
    for (old, new) in [("101", "101 old"), ("102", "101"), ("101 old", "102")] {
        source.rename("/ed-fi/locations", &room(old), &room(new))?;
    }
    story.push("Two rooms of the elementary school swapped their numbers.".to_owned());
    Ok(())
}

/// A cascade: the name of a session is part of more than a thousand keys.
fn rename_a_session(source: &Sandbox, story: &mut Vec<String>) -> Result<(), Refused> {
    let session =
        |name: &str| json!({"schoolId": MIDDLE_SCHOOL, "schoolYear": 2022, "sessionName": name});
    let old = session("2021-2022 Spring Semester");
    let dependents = source.dependents("/ed-fi/sessions", &old);
    source.rename("/ed-fi/sessions", &old, &session("2021-2022 Second Semester"))?;
    story.push(format!(
        "A session of the middle school was renamed; its name is part of the keys of {dependents} \
         sections, enrolments and other items, which follow it."
    ));
    Ok(())
}

fn rename_a_section(source: &Sandbox, story: &mut Vec<String>) -> Result<(), Refused> {
    let Some((key, dependents)) = section_with_dependents(source, 20, 80) else { return Ok(()) };
    let mut new = key.clone();
    let name = key["sectionIdentifier"].as_str().unwrap_or_default();
    new["sectionIdentifier"] = json!(format!("{name}-R"));
    source.rename("/ed-fi/sections", &key, &new)?;
    story.push(format!(
        "A section was renamed; {dependents} enrolments, grades and other items follow it."
    ));
    Ok(())
}

fn close_a_section(source: &Sandbox, story: &mut Vec<String>) -> Result<(), Refused> {
    let Some((key, dependents)) = section_with_dependents(source, 3, 20) else { return Ok(()) };
    source.delete_with_dependents("/ed-fi/sections", &key)?;
    story.push(format!(
        "A section was closed: the {dependents} items that depended on it were deleted, then the \
         section."
    ));
    Ok(())
}

/// The last section, in the order of creation, with so many dependents.
fn section_with_dependents(source: &Sandbox, least: usize, most: usize) -> Option<(Value, usize)> {
    source.items("/ed-fi/sections").iter().rev().find_map(|section| {
        let key = source.key_of("/ed-fi/sections", section)?;
        let dependents = source.dependents("/ed-fi/sections", &key);
        (least..=most).contains(&dependents).then_some((key, dependents))
    })
}

fn end_and_begin_again(source: &Sandbox, story: &mut Vec<String>) -> Result<(), Refused> {
    let resource = "/ed-fi/studentProgramAssociations";
    let associations = source.items(resource);
    let mut began_again = 0;
    for (number, association) in associations.iter().take(6).enumerate() {
        let Some(key) = source.key_of(resource, association) else { continue };
        source.delete(resource, &key)?;
        if number < 2 {
            let mut again = association.clone();
            again["servedOutsideOfRegularSession"] = json!(false);
            source.upsert(resource, &again)?;
            began_again += 1;
        }
    }
    story.push(format!(
        "Six program memberships ended; {began_again} of them began again the same day, changed."
    ));
    Ok(())
}

fn retitle_courses(source: &Sandbox, story: &mut Vec<String>) -> Result<(String, Value), Refused> {
    let resource = "/ed-fi/courses";
    let courses = source.items(resource);
    for course in courses.iter().take(5) {
        let mut changed = course.clone();
        let title = course["courseTitle"].as_str().unwrap_or_default();
        changed["courseTitle"] = json!(format!("{title} (2022)"));
        source.upsert(resource, &changed)?;
    }
    let refused = courses.first().and_then(|course| source.key_of(resource, course));
    story.push("Five courses have new titles; one target will refuse one of them.".to_owned());
    Ok((resource.to_owned(), refused.unwrap_or_default()))
}
