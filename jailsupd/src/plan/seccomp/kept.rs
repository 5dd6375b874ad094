//! Programs that were compiled before: most jails of a host ask for the same one, and to compile it takes longer than
//! everything else that loads a unit.

use super::{Error, Filter, Request, compile};
use crate::unit::Capabilities;
use crate::unit::seccomp::{Profile, Seccomp};
use std::sync::Arc;

/// As many different ones as units are likely to ask for.
const MOST: usize = 32;

/// The last programs, each beside what it was made of.
#[derive(Debug, Default)]
pub struct Filters(Vec<(Asked, Option<Arc<Filter>>)>);

/// A [`Request`] that outlives its unit.
#[derive(Debug, PartialEq, Eq)]
struct Asked {
    seccomp: Seccomp,
    profile: Option<Profile>,
    capabilities: Capabilities,
    kernel: (u32, u32),
    log: bool,
}

impl Asked {
    fn is(&self, request: &Request<'_>) -> bool {
        self.seccomp == *request.seccomp
            && self.profile.as_ref() == request.profile
            && self.capabilities == request.capabilities
            && (self.kernel, self.log) == (request.kernel, request.log)
    }
}

impl Filters {
    /// As [`compile`], or what that made of the same request before.
    ///
    /// # Errors
    /// As [`compile`].
    pub fn compile(&mut self, request: Request<'_>) -> Result<Option<Arc<Filter>>, Error> {
        if let Some((_, filter)) = self.0.iter().find(|(asked, _)| asked.is(&request)) {
            return Ok(filter.clone());
        }
        let filter = compile(request)?.map(Arc::new);
        let Request { seccomp, profile, capabilities, kernel, log } = request;
        let (seccomp, profile) = (seccomp.clone(), profile.cloned());
        if self.0.len() == MOST {
            self.0.remove(0);
        }
        self.0.push((Asked { seccomp, profile, capabilities, kernel, log }, filter.clone()));
        Ok(filter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_for_again_is_the_same_program_and_what_differs_is_another() {
        let mut filters = Filters::default();
        let request = Request {
            seccomp: &Seccomp::Default,
            profile: None,
            capabilities: Capabilities::default(),
            kernel: (6, 12),
            log: false,
        };
        let first = filters.compile(request).unwrap().unwrap();
        assert!(Arc::ptr_eq(&first, &filters.compile(request).unwrap().unwrap()));
        let logged = filters.compile(Request { log: true, ..request }).unwrap().unwrap();
        let strict = Request { seccomp: &Seccomp::Strict, ..request };
        let strict = filters.compile(strict).unwrap().unwrap();
        assert!(logged.log && !first.log && strict.program != first.program);
        assert_eq!(filters.compile(Request { seccomp: &Seccomp::None, ..request }), Ok(None));
        // However many there are, not all are kept.
        for minor in 0..100 {
            filters.compile(Request { kernel: (5, minor), ..request }).unwrap();
        }
        assert_eq!(filters.0.len(), MOST);
        assert_eq!(*filters.compile(request).unwrap().unwrap(), *first);
    }
}
