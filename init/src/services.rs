//! Which host services the keeper runs: the brain, and what the image's `services.d` adds.

use std::ffi::CString;
use std::fs;
use std::path::Path;

use keeper::Service;

const BRAIN: (&str, &str) = ("jailsupd", "/usr/lib/warder/jailsupd");
const DIRECTORY: &str = "/usr/lib/warder/services.d";

/// The brain first, then the others by name; a file that says nothing usable is logged and left out.
pub(crate) fn all() -> Vec<Service> {
    let (name, program) = BRAIN;
    let argv = CString::new(program).into_iter().collect();
    let mut services = vec![Service { name: name.to_owned(), argv, brain: true }];
    services.extend(listed(Path::new(DIRECTORY)));
    services
}

fn listed(directory: &Path) -> Vec<Service> {
    let mut files: Vec<_> = fs::read_dir(directory).into_iter().flatten().flatten().collect();
    files.sort_by_key(fs::DirEntry::file_name);
    let service = |file: &fs::DirEntry| {
        let name = file.file_name().to_str()?.to_owned();
        let argv = arguments(&fs::read_to_string(file.path()).ok()?);
        if argv.is_none() {
            log::error!("service {name}: its first line must be an absolute path");
        }
        Some(Service { name, argv: argv?, brain: false })
    };
    files.iter().filter_map(service).collect()
}

/// One argument a line; the first is the program.
fn arguments(text: &str) -> Option<Vec<CString>> {
    let argv: Option<Vec<_>> = text.lines().map(|line| CString::new(line).ok()).collect();
    argv.filter(|argv| argv.first().is_some_and(|program| program.as_bytes().starts_with(b"/")))
}

#[cfg(test)]
mod tests {
    use super::arguments;

    #[test]
    fn one_argument_a_line() {
        let argv = arguments("/usr/bin/tool\n-c\na b\n").unwrap();
        assert_eq!(argv, [c"/usr/bin/tool".to_owned(), c"-c".to_owned(), c"a b".to_owned()]);
    }

    #[test]
    fn a_relative_program_is_refused() {
        assert_eq!(arguments("tool\n"), None);
        assert_eq!(arguments(""), None);
        assert_eq!(arguments("/a\0b\n"), None);
    }
}
