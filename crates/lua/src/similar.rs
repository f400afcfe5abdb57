//! "Did you mean": which of some names somebody may have meant by another.

/// The name that `word` is most likely a slip of the pen for, if there is one.
pub(crate) fn similar<'a>(word: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // One slip in a short name, up to three in a long one: with more, two settings of Prosody are alike.
    let allowed = (word.chars().count() / 4).clamp(1, 3);
    names
        .into_iter()
        .map(|name| (strsim::damerau_levenshtein(word, name), name))
        .filter(|(slips, _)| (1..=allowed).contains(slips))
        .min_by_key(|(slips, _)| *slips)
        .map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::similar;

    #[test]
    fn a_slip_of_the_pen_is_understood_and_another_word_is_not() {
        let names = ["read_timeout", "send_timeout", "nagle"];
        for (word, meant) in [
            ("read_timout", Some("read_timeout")),
            ("raed_timeout", Some("read_timeout")),
            ("send_timeouts", Some("send_timeout")),
            ("nagel", Some("nagle")),
            ("nagle", None),
            ("name", None),
            ("timeout", None),
        ] {
            assert_eq!(similar(word, names), meant, "{word}");
        }
    }
}
