//! `[process] exec`: the program and its arguments.

use toml::de::DeValue;

use super::value::{Fault, FromToml, Value, plain, quoted};

/// The kernel's MAX_ARG_STRLEN, final NUL not counted.
const LONGEST_ARGUMENT: usize = 131_071;
/// Well below the quarter of the stack that arguments and environment may take.
const LONGEST: usize = 1 << 20;

/// Reads the list and checks what can be checked without the image.
pub(crate) fn read(value: &Value<'_>) -> Result<Vec<String>, Vec<Fault>> {
    if let DeValue::String(text) = value.get_ref() {
        let words: Vec<String> = text.split_whitespace().map(|w| quoted(&plain(w))).collect();
        let help = format!("no shell splits it; write a list: [{}]", words.join(", "));
        let fault = Fault::new("is a list of program and arguments, not one string");
        return Err(fault.help(help).alone());
    }
    let words = Vec::<String>::from_toml(value)?;
    let fault = match words.first() {
        None => Fault::new("is empty").help("give the program's absolute path, then its arguments"),
        Some(program) if !program.starts_with('/') => Fault::new(format!(
            "the program {} is not an absolute path",
            quoted(&plain(program))
        ))
        .help(
            "there is no search path; write where it is in the image, such as \"/usr/sbin/nginx\"",
        ),
        Some(program) if program.ends_with('/') => {
            Fault::new(format!("{} is a directory, not a program", quoted(&plain(program))))
                .help("give the path of the program itself")
        }
        Some(_) if words.iter().any(|w| w.len() > LONGEST_ARGUMENT) => {
            Fault::new("an argument is too long")
                .help(format!("at most {LONGEST_ARGUMENT} bytes each"))
        }
        Some(_) if words.iter().map(|w| w.len() + 1).sum::<usize>() > LONGEST => {
            Fault::new("the arguments are too long").help(format!("at most {LONGEST} bytes in all"))
        }
        Some(_) => return Ok(words),
    };
    Err(fault.alone())
}
