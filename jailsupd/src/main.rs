//! jailsupd: started by the keeper, with the wire at descriptor 3. Takes no arguments.

use jailsupd::exec::Layout;
use jailsupd::supervisor::Supervisor;
use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;

pub(crate) fn main() -> ExitCode {
    keeper::kmsg::init("jailsupd");
    sys::signal::heed_all();
    let layout = Layout {
        data: PathBuf::from("/data"),
        run: PathBuf::from("/run/jailsupd"),
        cgroups: PathBuf::from(jailsupd::plan::CGROUPS),
    };
    match Supervisor::start(layout) {
        Ok(mut supervisor) => ExitCode::from(supervisor.run()),
        Err(error) => {
            let cause = error.source().map_or_else(String::new, |cause| format!(": {cause}"));
            log::error!("{error}{cause}");
            ExitCode::FAILURE
        }
    }
}
