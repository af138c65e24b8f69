//! Guesses what a misspelt word means.

/// The candidate that differs in the fewest letters, if those are few.
pub(crate) fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let most = (word.chars().count() / 3).clamp(1, 3);
    let word = word.to_lowercase();
    let distance = |candidate: &str| strsim::osa_distance(&word, &candidate.to_lowercase());
    let candidates = candidates.into_iter().map(|candidate| (distance(candidate), candidate));
    candidates
        .filter(|(distance, _)| *distance <= most)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, nearest)| nearest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_letters_make_a_misspelling() {
        for (word, expected) in
            [("enpoint", Some("endpoint")), ("Path", Some("path")), ("pth", Some("path")), ("retry", None), ("x", None)]
        {
            assert_eq!(nearest(word, ["endpoint", "path", "engine"]), expected, "{word}");
        }
    }
}
