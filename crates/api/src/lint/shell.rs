//! Shell scripts as far as hooks need them: which commands there are, in which order, and what surely happens.
//!
//! Not a shell: what cannot be told from the text alone is left open, and every answer errs towards saying nothing.
//! Bounded by the length of the script; never panics, whatever the text is.

mod lex;

use std::collections::BTreeMap;

use self::lex::{Token, lex};

/// Names of shells that take a script behind `-c`.
const SHELLS: &[&str] = &["sh", "bash", "ash", "dash", "ksh", "zsh"];

/// Whether a process of this name is a shell.
pub(super) fn is_shell(process: &str) -> bool {
    SHELLS.contains(&process)
}

/// What shells do themselves, so that no program is needed for it.
const BUILTINS: &[&str] = &[
    ".", ":", "[", "[[", "alias", "bg", "break", "cd", "command", "continue", "declare", "echo", "eval", "exec", "exit", "export", "false",
    "fg", "getopts", "hash", "jobs", "kill", "let", "local", "printf", "pwd", "read", "readonly", "return", "set", "shift", "source",
    "test", "times", "trap", "true", "type", "ulimit", "umask", "unalias", "unset", "wait",
];

/// The deepest nesting that is kept count of; no honest script comes near.
const NESTING_MAX: usize = 64;

/// The values of variables that are known.
pub(super) type Variables = BTreeMap<String, String>;

/// A command line as it is executed.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Command<'a> {
    /// A shell that reads a script.
    Shell {
        /// Its name without folder.
        shell: &'a str,
        /// The script.
        script: &'a str,
        /// Index of the script in the command line.
        index: usize,
    },
    /// A program that is executed as it is, without any shell.
    Program(&'a str),
}

impl<'a> Command<'a> {
    /// How a command line is executed; `None` where it is empty.
    pub(super) fn of(argv: &'a [String]) -> Option<Self> {
        let program = argv.first()?.as_str();
        let (shell, from) = match base_name(program) {
            "busybox" => (argv.get(1)?.as_str(), 2),
            name => (name, 1),
        };
        if !SHELLS.contains(&shell) {
            return Some(Self::Program(program));
        }
        let mut options = argv.iter().enumerate().skip(from).take_while(|(_, word)| word.starts_with(['-', '+']));
        let is_script = |word: &str| word.starts_with('-') && !word.starts_with("--") && word.contains('c');
        let Some((at, _)) = options.find(|(_, word)| is_script(word)) else { return Some(Self::Program(program)) };
        // Options may follow `-c`; the script is the first word that is none.
        let index = (at + 1..argv.len()).find(|index| !argv[*index].starts_with('-'))?;
        Some(Self::Shell { shell, script: &argv[index], index })
    }
}

/// The last part of a path.
pub(super) fn base_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// A word of a script.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Word {
    /// What the command gets, as far as it is known before the script runs.
    pub(super) text: String,
    /// Whether the whole of it is known.
    pub(super) known: bool,
}

/// What stands behind a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Joint {
    /// `;`, a line end, or the end of the script.
    Sequence,
    /// `&&`
    And,
    /// `||`
    Or,
    /// `|`
    Pipe,
    /// `&`
    Background,
}

/// Where a command stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Nest {
    /// In a loop, or its condition.
    pub(super) looped: bool,
    /// In a branch of an `if` or `case`, or in a function.
    pub(super) conditional: bool,
    /// In `( )`.
    pub(super) subshell: bool,
}

/// One simple command of a script.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Step {
    /// Its words; at least one. Assignments before the command are left out.
    pub(super) words: Vec<Word>,
    /// What stands behind it.
    pub(super) joint: Joint,
    /// Where it stands.
    pub(super) nest: Nest,
}

impl Step {
    /// The name of the command without folder; `exec`, `command` and `busybox` before it are left out.
    pub(super) fn name(&self) -> &str {
        self.arguments_from(0).map_or("", |word| base_name(&word.text))
    }

    /// The words behind the command's name that are wholly known.
    pub(super) fn arguments(&self) -> impl Iterator<Item = &str> {
        let from = self.words.iter().take_while(|word| Self::is_prefix(word)).count() + 1;
        self.words.iter().skip(from).filter(|word| word.known).map(|word| word.text.as_str())
    }

    /// Whether this replaces the shell.
    pub(super) fn is_exec(&self) -> bool {
        self.words.len() > 1 && self.words[0].text == "exec"
    }

    fn arguments_from(&self, index: usize) -> Option<&Word> {
        self.words.iter().skip_while(|word| Self::is_prefix(word)).nth(index)
    }

    fn is_prefix(word: &Word) -> bool {
        matches!(base_name(&word.text), "exec" | "command" | "busybox" | "nohup")
    }

    /// Whether the shell itself does it.
    pub(super) fn is_builtin(&self) -> bool {
        BUILTINS.contains(&self.name())
    }
}

/// How long a command takes at the very least.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct LeastTime {
    /// Seconds that it surely takes.
    pub(super) seconds: f64,
    /// Whether it surely never ends by itself.
    pub(super) endless: bool,
}

/// A script, taken apart.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Script {
    /// Its simple commands, in order.
    pub(super) steps: Vec<Step>,
    /// Whether it surely comes to a loop that it never leaves.
    pub(super) endless_loop: bool,
    /// Names of its functions.
    pub(super) functions: Vec<String>,
}

/// What surrounds a command.
#[derive(Clone, Debug, PartialEq)]
enum Frame {
    /// `while` or `until`, from which step on, and whether its body has begun and ends it.
    Loop { from: usize, body: Option<usize>, until: bool },
    /// `for`
    For,
    /// `if`
    If,
    /// `case`
    Case,
    /// `{ }`
    Group,
    /// `{ }` of a function.
    Function,
    /// `( )`
    Subshell,
}

impl Script {
    /// Takes a script apart. `variables` are those that it sees with a value that is known.
    pub(super) fn parse(text: &str, variables: &Variables) -> Self {
        let mut parser = Parser { script: Self::default(), frames: Vec::new(), words: Vec::new(), function_next: false };
        let tokens = lex(text, variables);
        let mut tokens = tokens.into_iter().peekable();
        while let Some(token) = tokens.next() {
            match token {
                Token::Word(word) => {
                    if parser.words.is_empty() && parser.keyword(&word, &mut tokens) {
                        continue;
                    }
                    parser.words.push(word);
                }
                Token::Joint(joint) => parser.end(joint),
                Token::Open => parser.open(&mut tokens),
                Token::Close => parser.close(),
            }
        }
        parser.end(Joint::Sequence);
        parser.script.mark_background();
        parser.script
    }

    /// How long the script takes at the very least.
    pub(super) fn least_time(&self) -> LeastTime {
        let mut time = LeastTime { seconds: 0.0, endless: self.endless_loop };
        let mut before = Joint::Sequence;
        for step in &self.steps {
            let surely = step.nest == Nest::default() && before != Joint::Or && step.joint != Joint::Background;
            if surely {
                let own = program_time(step.name(), step.arguments());
                time.seconds += own.seconds;
                time.endless |= own.endless;
                if matches!(step.name(), "exit" | "return") && before != Joint::And {
                    time.endless = false;
                    return time;
                }
            }
            before = step.joint;
        }
        time
    }

    /// Whether the script waits for something in a loop.
    pub(super) fn has_loop(&self) -> bool {
        self.steps.iter().any(|step| step.nest.looped)
    }

    /// A list that ends in `&` runs in the background as a whole.
    fn mark_background(&mut self) {
        for index in (1..self.steps.len()).rev() {
            if self.steps[index].joint == Joint::Background && matches!(self.steps[index - 1].joint, Joint::And | Joint::Or | Joint::Pipe) {
                self.steps[index - 1].joint = Joint::Background;
            }
        }
    }
}

/// How long a program takes at the very least.
pub(super) fn program_time<'a>(name: &str, mut arguments: impl Iterator<Item = &'a str>) -> LeastTime {
    match name {
        "sleep" => {
            let mut time = LeastTime::default();
            for argument in arguments {
                match seconds(argument) {
                    Some(seconds) if seconds.is_infinite() => time.endless = true,
                    Some(seconds) => time.seconds += seconds,
                    // The command fails at once.
                    None => return LeastTime::default(),
                }
            }
            time
        }
        "tail" => LeastTime { seconds: 0.0, endless: arguments.any(|argument| matches!(argument, "-f" | "-F" | "--follow")) },
        _ => LeastTime::default(),
    }
}

/// `30`, `1.5`, `30s`, `5m`, `infinity`.
fn seconds(text: &str) -> Option<f64> {
    if matches!(text, "infinity" | "inf") {
        return Some(f64::INFINITY);
    }
    let (number, unit) = match text.char_indices().next_back()? {
        (at, 's') => (&text[..at], 1.0),
        (at, 'm') => (&text[..at], 60.0),
        (at, 'h') => (&text[..at], 3600.0),
        (at, 'd') => (&text[..at], 86_400.0),
        _ => (text, 1.0),
    };
    let plain = !number.is_empty() && number.chars().all(|c| c.is_ascii_digit() || c == '.');
    number.parse::<f64>().ok().filter(|_| plain).map(|number| number * unit)
}

struct Parser {
    script: Script,
    frames: Vec<Frame>,
    words: Vec<Word>,
    /// A function's name was read, its body follows.
    function_next: bool,
}

type Tokens = std::iter::Peekable<std::vec::IntoIter<Token>>;

impl Parser {
    /// Takes a word at the place of a command's name; whether it is part of the grammar.
    fn keyword(&mut self, word: &Word, tokens: &mut Tokens) -> bool {
        let from = self.script.steps.len();
        match word.text.as_str() {
            "while" => self.enter(Frame::Loop { from, body: None, until: false }),
            "until" => self.enter(Frame::Loop { from, body: None, until: true }),
            "if" => self.enter(Frame::If),
            "for" => {
                self.enter(Frame::For);
                skip_to(tokens, "do");
            }
            "case" => {
                self.enter(Frame::Case);
                skip_to(tokens, "in");
            }
            "do" => {
                if let Some(Frame::Loop { body, .. }) = self.frames.last_mut() {
                    *body = Some(from);
                }
            }
            "then" | "else" | "elif" | "!" | "time" => {}
            "{" => {
                let frame = if std::mem::take(&mut self.function_next) { Frame::Function } else { Frame::Group };
                self.enter(frame);
            }
            "done" => self.leave_loop(matches!(tokens.peek(), Some(Token::Joint(Joint::Background)))),
            "fi" | "esac" | "}" => {
                self.frames.pop();
            }
            "function" => {
                if let Some(Token::Word(name)) = tokens.next() {
                    self.script.functions.push(name.text.trim_end_matches("()").to_owned());
                }
                self.function_next = true;
            }
            _ => return false,
        }
        true
    }

    /// Something begins that others are nested in.
    fn enter(&mut self, frame: Frame) {
        if self.frames.len() < NESTING_MAX {
            self.frames.push(frame);
        }
    }

    /// `done`: sees whether the loop is one that is never left.
    fn leave_loop(&mut self, background: bool) {
        let Some(Frame::Loop { from, body: Some(body), until }) = self.frames.pop() else { return };
        let condition: Vec<&str> = match &self.script.steps[from..body] {
            [only] => only.words.iter().map(|word| word.text.as_str()).collect(),
            _ => return,
        };
        let always = match condition.as_slice() {
            ["true" | ":"] | ["[", "1", "]"] => !until,
            ["false"] => until,
            _ => false,
        };
        let leaves = |step: &Step| matches!(step.words[0].text.as_str(), "break" | "exit" | "return" | "exec");
        let surely = self.frames.iter().all(|frame| *frame == Frame::Group);
        let before = from.checked_sub(1).map_or(Joint::Sequence, |before| self.script.steps[before].joint);
        let surely = surely && !background && before != Joint::Or;
        self.script.endless_loop |= always && surely && !self.script.steps[body..].iter().any(leaves);
    }

    fn open(&mut self, tokens: &mut Tokens) {
        // `name()` begins a function.
        if self.words.len() == 1 && matches!(tokens.peek(), Some(Token::Close)) {
            tokens.next();
            self.script.functions.extend(self.words.drain(..).map(|word| word.text));
            self.function_next = true;
            return;
        }
        self.enter(Frame::Subshell);
    }

    fn close(&mut self) {
        if self.frames.last() == Some(&Frame::Case) {
            // What stands before `)` in a `case` is a pattern.
            self.words.clear();
            return;
        }
        self.end(Joint::Sequence);
        if self.frames.last() == Some(&Frame::Subshell) {
            self.frames.pop();
        }
    }

    /// A command has ended.
    fn end(&mut self, joint: Joint) {
        let is_assignment = |word: &Word| {
            let name = word.text.split('=').next().unwrap_or_default();
            word.text.contains('=') && !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
        };
        let words: Vec<Word> = std::mem::take(&mut self.words).into_iter().skip_while(is_assignment).collect();
        if words.is_empty() {
            // `done &&`, `} | …`: what follows a compound joins its last command.
            if joint != Joint::Sequence
                && let Some(last) = self.script.steps.last_mut()
            {
                last.joint = joint;
            }
            return;
        }
        let has = |wanted: &[Frame]| self.frames.iter().any(|frame| wanted.contains(frame));
        let nest = Nest {
            looped: self.frames.iter().any(|frame| matches!(frame, Frame::Loop { .. } | Frame::For)),
            conditional: has(&[Frame::If, Frame::Case, Frame::Function]),
            subshell: has(&[Frame::Subshell]),
        };
        self.script.steps.push(Step { words, joint, nest });
    }
}

fn skip_to(tokens: &mut Tokens, keyword: &str) {
    for token in tokens.by_ref() {
        if matches!(&token, Token::Word(word) if word.text == keyword) {
            return;
        }
    }
}

#[cfg(test)]
mod tests;
