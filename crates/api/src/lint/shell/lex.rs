//! The words and operators of a shell script.

use super::{Joint, Variables, Word};

/// The longest script that is read; a longer one is cut here, and what was cut is not known.
const SCRIPT_CHARS_MAX: usize = 64 * 1024;

/// A word or an operator.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Token {
    /// A word.
    Word(Word),
    /// What ends a command.
    Joint(Joint),
    /// `(`
    Open,
    /// `)`
    Close,
}

/// Splits a script. What comes from the shell's own work (substitutions, here-documents) is not known.
pub(super) fn lex(text: &str, variables: &Variables) -> Vec<Token> {
    let mut lexer = Lexer { rest: text.chars().take(SCRIPT_CHARS_MAX).collect(), at: 0, tokens: Vec::new(), word: None, variables };
    lexer.run();
    lexer.tokens
}

struct Lexer<'v> {
    rest: Vec<char>,
    at: usize,
    tokens: Vec<Token>,
    /// The word that is being read.
    word: Option<Word>,
    variables: &'v Variables,
}

impl Lexer<'_> {
    fn peek(&self) -> Option<char> {
        self.rest.get(self.at).copied()
    }

    fn take(&mut self) -> Option<char> {
        let taken = self.peek()?;
        self.at += 1;
        Some(taken)
    }

    fn take_if(&mut self, wanted: char) -> bool {
        let found = self.peek() == Some(wanted);
        self.at += usize::from(found);
        found
    }

    fn word(&mut self) -> &mut Word {
        self.word.get_or_insert_with(|| Word { text: String::new(), known: true })
    }

    fn end_word(&mut self) {
        self.tokens.extend(self.word.take().map(Token::Word));
    }

    fn joint(&mut self, joint: Joint) {
        self.end_word();
        self.tokens.push(Token::Joint(joint));
    }

    fn run(&mut self) {
        while let Some(c) = self.take() {
            match c {
                '#' if self.word.is_none() => {
                    while self.peek().is_some_and(|c| c != '\n') {
                        self.at += 1;
                    }
                }
                ' ' | '\t' | '\r' => self.end_word(),
                '\n' | ';' => self.joint(Joint::Sequence),
                '&' if self.take_if('&') => self.joint(Joint::And),
                '&' if self.peek() == Some('>') => self.end_word(),
                '&' => self.joint(Joint::Background),
                '|' if self.take_if('|') => self.joint(Joint::Or),
                '|' => self.joint(Joint::Pipe),
                '(' => {
                    self.end_word();
                    self.tokens.push(Token::Open);
                }
                ')' => {
                    self.end_word();
                    self.tokens.push(Token::Close);
                }
                '<' if self.peek() == Some('<') => {
                    // A here-document: nothing behind it is told apart from its text.
                    self.end_word();
                    return;
                }
                '<' | '>' => self.redirection(),
                '\\' => match self.take() {
                    Some('\n') | None => {}
                    Some(c) => self.word().text.push(c),
                },
                '\'' => self.single_quoted(),
                '"' => self.double_quoted(),
                '$' => self.dollar(),
                '`' => {
                    self.skip_past('`');
                    self.word().known = false;
                }
                '*' | '?' | '~' => {
                    self.word().text.push(c);
                    self.word().known = false;
                }
                c => self.word().text.push(c),
            }
        }
        self.end_word();
    }

    /// Passes over the target of a redirection, and the number before it.
    fn redirection(&mut self) {
        if self.word.as_ref().is_some_and(|word| word.text.chars().all(|c| c.is_ascii_digit())) {
            self.word = None;
        }
        self.end_word();
        while self.peek().is_some_and(|c| matches!(c, '>' | '|' | '&' | ' ' | '\t')) {
            self.at += 1;
        }
        while self.peek().is_some_and(|c| !c.is_whitespace() && !matches!(c, ';' | '&' | '|' | ')' | '(')) {
            self.at += 1;
        }
    }

    fn single_quoted(&mut self) {
        self.word();
        while let Some(c) = self.take().filter(|c| *c != '\'') {
            self.word().text.push(c);
        }
    }

    fn double_quoted(&mut self) {
        self.word();
        while let Some(c) = self.take().filter(|c| *c != '"') {
            match c {
                '\\' => {
                    if let Some(c) = self.take() {
                        self.word().text.push(c);
                    }
                }
                '$' => self.dollar(),
                '`' => {
                    self.skip_past('`');
                    self.word().known = false;
                }
                c => self.word().text.push(c),
            }
        }
    }

    fn dollar(&mut self) {
        match self.peek() {
            Some('(') => {
                self.at += 1;
                self.skip_balanced('(', ')');
                self.word().known = false;
            }
            Some('{') => {
                self.at += 1;
                let from = self.at;
                self.skip_balanced('{', '}');
                let inside: String = self.rest[from..self.at.saturating_sub(1).max(from)].iter().collect();
                let (name, default) = match inside.split_once(":-").or_else(|| inside.split_once('-')) {
                    Some((name, default)) => (name, Some(default.to_owned())),
                    None => (inside.as_str(), None),
                };
                let value = self.variables.get(name).cloned().or(default.filter(|default| !default.contains('$')));
                self.value(value);
            }
            Some(c) if c.is_ascii_alphabetic() || c == '_' => {
                let mut name = String::new();
                while let Some(c) = self.peek().filter(|c| c.is_ascii_alphanumeric() || *c == '_') {
                    name.push(c);
                    self.at += 1;
                }
                self.value(self.variables.get(&name).cloned());
            }
            Some(c) if c.is_ascii_digit() || "@*#?$!-".contains(c) => {
                self.at += 1;
                self.word().known = false;
            }
            Some(_) | None => self.word().text.push('$'),
        }
    }

    fn value(&mut self, value: Option<String>) {
        match value {
            Some(value) => self.word().text.push_str(&value),
            None => self.word().known = false,
        }
    }

    fn skip_past(&mut self, end: char) {
        while self.take().is_some_and(|c| c != end) {}
    }

    fn skip_balanced(&mut self, open: char, close: char) {
        let mut depth = 1_usize;
        while let Some(c) = self.take() {
            match c {
                '\'' => self.skip_past('\''),
                c if c == open => depth += 1,
                c if c == close => depth -= 1,
                _ => {}
            }
            if depth == 0 {
                return;
            }
        }
    }
}
