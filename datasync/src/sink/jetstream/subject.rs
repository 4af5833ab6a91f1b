//! Names of data sets as subjects.
//!
//! A subject is made of words with points between. `*` and `>` stand for words in filters, and
//! servers advise against white space and what is not ASCII.

use std::fmt::Write as _;

use connector_core::DatasetId;

/// Tells whether a word can stand in a subject as it is.
pub(super) fn is_plain(word: &str) -> bool {
    !word.is_empty() && word.bytes().all(is_plain_byte)
}

fn is_plain_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-'
}

/// Returns the subject of a data set. No two data sets have the same.
pub(super) fn subject(prefix: &str, dataset: &DatasetId) -> String {
    let mut subject = prefix.to_owned();
    for name in [dataset.connector(), dataset.dataset()] {
        subject.push('.');
        // A word is never empty, and no other name becomes a lone `%`.
        if name.is_empty() {
            subject.push('%');
        }
        for byte in name.bytes() {
            if is_plain_byte(byte) {
                subject.push(byte.into());
            } else {
                let _ = write!(subject, "%{byte:02X}");
            }
        }
    }
    subject
}

/// Tells whether a filter of a stream takes a subject: `*` stands for one word, `>` at its end for
/// one or more.
pub(super) fn takes(filter: &str, subject: &str) -> bool {
    let mut words = subject.split('.');
    for expected in filter.split('.') {
        match (expected, words.next()) {
            (">", Some(_)) => return true,
            ("*", Some(_)) => {}
            (expected, Some(word)) if expected == word => {}
            _ => return false,
        }
    }
    words.next().is_none()
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    fn of(connector: &str, dataset: &str) -> String {
        subject("inventory", &DatasetId::new(connector, dataset))
    }

    #[test]
    fn names_become_words() {
        assert_eq!(of("hr", "v_R_System"), "inventory.hr.v_R_System");
        assert_eq!(
            of("hr", "Add.Remove *>"),
            "inventory.hr.Add%2ERemove%20%2A%3E"
        );
        assert_eq!(of("hr", "Geräte"), "inventory.hr.Ger%C3%A4te");
        assert_eq!(of("hr", "100%"), "inventory.hr.100%25");
        assert_eq!(of("hr", ""), "inventory.hr.%");
    }

    proptest! {
        #[test]
        fn no_two_data_sets_have_the_same_subject(
            names in prop::collection::vec((".{0,4}", "[a-c%.* ]{0,3}"), 0..40)
        ) {
            let mut seen = HashMap::new();
            for (connector, dataset) in names {
                let subject = of(&connector, &dataset);
                prop_assert_eq!(subject.split('.').count(), 3);
                prop_assert!(subject.is_ascii() && !subject.contains(['*', '>', ' ']));
                prop_assert!(takes("inventory.>", &subject) && takes("inventory.*.*", &subject));
                let id = (connector, dataset);
                let known = seen.entry(subject).or_insert_with(|| id.clone());
                prop_assert_eq!(&*known, &id);
            }
        }
    }

    #[test]
    fn filters_take_what_they_say() {
        for (filter, taken) in [
            ("inventory.>", true),
            (">", true),
            ("inventory.*.devices", true),
            ("inventory.hr.devices", true),
            ("inventory.*", false),
            ("inventory.hr.devices.>", false),
            ("inventory.hr.devices.*", false),
            ("inventory.hr", false),
            ("other.>", false),
        ] {
            assert_eq!(takes(filter, "inventory.hr.devices"), taken, "{filter}");
        }
    }
}
