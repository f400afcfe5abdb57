//! What was found out, as text for people and as JSON for programs.

use std::fmt::Write;

/// How much something matters.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Level {
    Fine,
    /// It works, and could be better.
    Advice,
    /// Something does not work, or has no effect.
    Problem,
}

impl Level {
    fn name(self) -> &'static str {
        match self {
            Level::Fine => "ok",
            Level::Advice => "advice",
            Level::Problem => "problem",
        }
    }

    pub fn named(name: &str) -> Option<Level> {
        [Level::Fine, Level::Advice, Level::Problem]
            .into_iter()
            .find(|level| level.name() == name)
    }
}

/// One thing that was looked at.
#[derive(Debug)]
pub struct Fact {
    pub level: Level,
    pub subject: String,
    pub state: String,
    /// What to do about it.
    pub advice: Option<String>,
}

impl Fact {
    pub fn fine(subject: impl Into<String>, state: impl Into<String>) -> Fact {
        Fact {
            level: Level::Fine,
            subject: subject.into(),
            state: state.into(),
            advice: None,
        }
    }

    pub fn advice(
        subject: impl Into<String>,
        state: impl Into<String>,
        advice: impl Into<String>,
    ) -> Fact {
        Fact {
            level: Level::Advice,
            advice: Some(advice.into()),
            ..Fact::fine(subject, state)
        }
    }

    pub fn problem(
        subject: impl Into<String>,
        state: impl Into<String>,
        advice: impl Into<String>,
    ) -> Fact {
        Fact {
            level: Level::Problem,
            ..Fact::advice(subject, state, advice)
        }
    }
}

pub fn count(facts: &[Fact], level: Level) -> usize {
    facts.iter().filter(|fact| fact.level == level).count()
}

/// One line for each fact, and below it, indented, what to do about it if anything. The last line counts.
pub fn text(facts: &[Fact]) -> String {
    let mut text = String::new();
    for fact in facts {
        // Writing to a String does not fail, here and below.
        let _ = writeln!(text, "{:<20} {}", fact.subject, fact.state);
        if let Some(advice) = &fact.advice {
            let mark = match fact.level {
                Level::Problem => "!! ",
                _ => "-> ",
            };
            let _ = writeln!(text, "{:<20} {mark}{advice}", "");
        }
    }
    let (problems, advice) = (count(facts, Level::Problem), count(facts, Level::Advice));
    let _ = match (problems, advice) {
        (0, 0) => writeln!(text, "Nothing to complain of."),
        _ => writeln!(text, "Problems (!!): {problems}. Advice (->): {advice}."),
    };
    text
}

/// One object: `problems` and `advice` are numbers, `facts` is a list of `level`, `subject`, `state` and, or null, `advice`.
pub fn json(facts: &[Fact]) -> String {
    let mut text = format!(
        "{{\"problems\": {}, \"advice\": {}, \"facts\": [",
        count(facts, Level::Problem),
        count(facts, Level::Advice)
    );
    for (index, fact) in facts.iter().enumerate() {
        let _ = write!(
            text,
            "{}\n  {{\"level\": {}, \"subject\": {}, \"state\": {}, \"advice\": {}}}",
            if index == 0 { "" } else { "," },
            quoted(fact.level.name()),
            quoted(&fact.subject),
            quoted(&fact.state),
            fact.advice.as_deref().map_or("null".to_owned(), quoted)
        );
    }
    text.push_str("\n]}\n");
    text
}

/// A string of JSON (RFC 8259).
fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for character in text.chars() {
        match character {
            '"' | '\\' => quoted.extend(['\\', character]),
            control if control < ' ' => {
                let _ = write!(quoted, "\\u{:04x}", control as u32);
            }
            other => quoted.push(other),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_see_what_to_do() {
        let facts = [
            Fact::fine("a", "works"),
            Fact::advice("b", "slow", "be quick"),
            Fact::problem("c", "broken", "mend it"),
        ];
        assert_eq!(
            text(&facts),
            "a                    works\n\
             b                    slow\n                     -> be quick\n\
             c                    broken\n                     !! mend it\n\
             Problems (!!): 1. Advice (->): 1.\n"
        );
        assert!(text(&facts[..1]).ends_with("Nothing to complain of.\n"));
    }

    #[test]
    fn programs_get_json_whatever_is_in_it() {
        let facts = [Fact::problem("a \"b\"", "C:\\\t", "ü"), Fact::fine("d", "")];
        assert_eq!(
            json(&facts),
            "{\"problems\": 1, \"advice\": 0, \"facts\": [\n  \
             {\"level\": \"problem\", \"subject\": \"a \\\"b\\\"\", \"state\": \"C:\\\\\\u0009\", \"advice\": \"ü\"},\n  \
             {\"level\": \"ok\", \"subject\": \"d\", \"state\": \"\", \"advice\": null}\n]}\n"
        );
    }
}
