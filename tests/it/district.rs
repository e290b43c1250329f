//! A small district: a school, its sessions, courses and sections, students and what links them.
//! Bodies are whole and valid for Data Standard 5.2.

use serde_json::{Value, json};
use tidemark::sandbox::Sandbox;

use crate::scene::put;

pub(crate) const SCHOOL: i64 = 255_901_001;
pub(crate) const AGENCY: i64 = 255_901;

fn descriptor(kind: &str, value: &str) -> String {
    format!("uri://ed-fi.org/{kind}Descriptor#{value}")
}

pub(crate) fn agency() -> Value {
    json!({
        "localEducationAgencyId": AGENCY,
        "nameOfInstitution": "Grand Bend ISD",
        "categories": [{"educationOrganizationCategoryDescriptor":
            descriptor("EducationOrganizationCategory", "Local Education Agency")}],
        "localEducationAgencyCategoryDescriptor": descriptor("LocalEducationAgencyCategory", "Independent"),
    })
}

pub(crate) fn school() -> Value {
    json!({
        "schoolId": SCHOOL,
        "nameOfInstitution": "Grand Bend High School",
        "educationOrganizationCategories": [{"educationOrganizationCategoryDescriptor":
            descriptor("EducationOrganizationCategory", "School")}],
        "gradeLevels": [{"gradeLevelDescriptor": descriptor("GradeLevel", "Ninth grade")}],
        "localEducationAgencyReference": {"localEducationAgencyId": AGENCY},
    })
}

pub(crate) fn course(code: &str) -> Value {
    json!({
        "courseCode": code,
        "courseTitle": format!("Course {code}"),
        "numberOfParts": 1,
        "educationOrganizationReference": {"educationOrganizationId": SCHOOL},
        "identificationCodes": [{
            "identificationCode": code,
            "courseIdentificationSystemDescriptor":
                descriptor("CourseIdentificationSystem", "LEA course code"),
        }],
    })
}

pub(crate) fn session(name: &str) -> Value {
    json!({
        "sessionName": name,
        "schoolYearTypeReference": {"schoolYear": 2022},
        "schoolReference": {"schoolId": SCHOOL},
        "beginDate": "2021-08-23",
        "endDate": "2021-12-17",
        "termDescriptor": descriptor("Term", "Fall Semester"),
        "totalInstructionalDays": 81,
    })
}

pub(crate) fn session_key(name: &str) -> Value {
    json!({"schoolId": SCHOOL, "schoolYear": 2022, "sessionName": name})
}

pub(crate) fn offering(code: &str, session: &str) -> Value {
    json!({
        "localCourseCode": code,
        "schoolReference": {"schoolId": SCHOOL},
        "sessionReference": {"schoolId": SCHOOL, "schoolYear": 2022, "sessionName": session},
        "courseReference": {"courseCode": code, "educationOrganizationId": SCHOOL},
    })
}

pub(crate) fn offering_key(code: &str, session: &str) -> Value {
    json!({"localCourseCode": code, "schoolId": SCHOOL, "schoolYear": 2022, "sessionName": session})
}

pub(crate) fn section(id: &str, code: &str, session: &str) -> Value {
    json!({
        "sectionIdentifier": id,
        "courseOfferingReference": {
            "localCourseCode": code, "schoolId": SCHOOL, "schoolYear": 2022, "sessionName": session,
        },
        "sectionName": format!("Section {id}"),
        "availableCredits": 1.0,
    })
}

pub(crate) fn section_key(id: &str, code: &str, session: &str) -> Value {
    json!({
        "localCourseCode": code, "schoolId": SCHOOL, "schoolYear": 2022,
        "sectionIdentifier": id, "sessionName": session,
    })
}

pub(crate) fn student(id: &str) -> Value {
    json!({"studentUniqueId": id, "firstName": "Tyrone", "lastSurname": format!("Dyer {id}"), "birthDate": "2010-01-13"})
}

pub(crate) fn student_key(id: &str) -> Value {
    json!({"studentUniqueId": id})
}

pub(crate) fn enrolment(student: &str) -> Value {
    json!({
        "studentReference": {"studentUniqueId": student},
        "schoolReference": {"schoolId": SCHOOL},
        "entryDate": "2021-08-23",
        "entryGradeLevelDescriptor": descriptor("GradeLevel", "Ninth grade"),
    })
}

pub(crate) fn enrolment_key(student: &str) -> Value {
    json!({"entryDate": "2021-08-23", "schoolId": SCHOOL, "studentUniqueId": student})
}

pub(crate) fn attends(student: &str, section: &str, code: &str, session: &str) -> Value {
    json!({
        "studentReference": {"studentUniqueId": student},
        "sectionReference": {
            "localCourseCode": code, "schoolId": SCHOOL, "schoolYear": 2022,
            "sectionIdentifier": section, "sessionName": session,
        },
        "beginDate": "2021-08-23",
    })
}

pub(crate) fn class_period(name: &str) -> Value {
    json!({"classPeriodName": name, "schoolReference": {"schoolId": SCHOOL}})
}

pub(crate) fn class_period_key(name: &str) -> Value {
    json!({"classPeriodName": name, "schoolId": SCHOOL})
}

pub(crate) fn standard(id: &str, parent: Option<&str>) -> Value {
    let mut standard = json!({
        "learningStandardId": id,
        "description": "Reads",
        "namespace": "uri://ed-fi.org/LearningStandard/LearningStandard.xml",
        "gradeLevels": [{"gradeLevelDescriptor": descriptor("GradeLevel", "Ninth grade")}],
        "academicSubjects": [{"academicSubjectDescriptor": descriptor("AcademicSubject", "Mathematics")}],
    });
    if let Some(parent) = parent {
        standard["parentLearningStandardReference"] = json!({"learningStandardId": parent});
    }
    standard
}

/// A school with one session `Fall`, course `ALG-1`, section `S1`, and two enrolled students in it.
pub(crate) fn open_school(sandbox: &Sandbox) {
    put(sandbox, "localEducationAgencies", &agency());
    put(sandbox, "schools", &school());
    put(sandbox, "courses", &course("ALG-1"));
    put(sandbox, "sessions", &session("Fall"));
    put(sandbox, "courseOfferings", &offering("ALG-1", "Fall"));
    put(sandbox, "sections", &section("S1", "ALG-1", "Fall"));
    for id in ["604821", "604822"] {
        put(sandbox, "students", &student(id));
        put(sandbox, "studentSchoolAssociations", &enrolment(id));
        put(sandbox, "studentSectionAssociations", &attends(id, "S1", "ALG-1", "Fall"));
    }
}
