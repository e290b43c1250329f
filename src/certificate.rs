//! When certificates end: of what a server shows, and of what files hold.
//!
//! The one thing to know: nothing is decided by it, it is told. Whether a certificate is good is for
//! rustls alone to say.

use std::path::Path;

use chrono::DateTime;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::clock::Timestamp;

/// When a certificate ends; `None` where it is none that can be read.
pub fn ends_at(certificate: &[u8]) -> Option<Timestamp> {
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    DateTime::from_timestamp(certificate.validity().not_after.timestamp(), 0)
}

/// When the first of those in a PEM file ends; `None` where there is none that can be read. Blocks
/// while it reads a small file.
pub fn first_to_end(file: &Path) -> Option<Timestamp> {
    let certificates = CertificateDer::pem_file_iter(file).ok()?;
    certificates.filter_map(|certificate| ends_at(&certificate.ok()?)).min()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn certificate(year: i32) -> rcgen::Certificate {
        let mut wanted = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        wanted.not_after = rcgen::date_time_ymd(year, 1, 31);
        wanted.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap()
    }

    fn morning(year: i32) -> Option<Timestamp> {
        let text = format!("{year}-01-31T00:00:00Z");
        Some(DateTime::parse_from_rfc3339(&text).unwrap().to_utc())
    }

    #[test]
    fn a_certificate_tells_when_it_ends() {
        // Years are written in two ways, before and from 2050.
        for year in [2031, 2050] {
            assert_eq!(ends_at(certificate(year).der()), morning(year));
        }
        assert_eq!(ends_at(b"no certificate"), None);
    }

    #[test]
    fn of_several_in_a_file_the_first_to_end_counts() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("chain.pem");
        let chain = certificate(2040).pem() + &certificate(2031).pem();
        std::fs::write(&file, chain).unwrap();

        assert_eq!(first_to_end(&file), morning(2031));
        assert_eq!(first_to_end(&folder.path().join("nothing.pem")), None);
    }
}
