//! The processes that run the stages, as many as asked for, and how one is started again.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::processes::Process;
use super::{SESSIONS, kills};
use crate::config::Config;

const READY: Duration = Duration::from_secs(60);

/// One process: a member of every group, with its share of the broker sessions.
struct Instance {
    process: Process,
    name: String,
    args: Vec<String>,
    phases: PathBuf,
}

/// All of them.
pub struct Instances {
    dir: PathBuf,
    all: Vec<Instance>,
}

impl Instances {
    /// Starts `count` processes with the configuration, each under an instance name of its own, and waits for the
    /// address of each.
    ///
    /// # Errors
    /// One does not start.
    pub fn start(count: usize, config: &Config, dir: &Path) -> anyhow::Result<Self> {
        let mut instances = Self { dir: dir.to_owned(), all: Vec::with_capacity(count) };
        for n in 0..count {
            let name = format!("stages-{}", n + 1);
            let mut config = config.clone();
            config.run.instance = (n + 1).to_string();
            config.gateway.sessions = SESSIONS.iter().skip(n).step_by(count).map(|s| (*s).to_owned()).collect();
            let (file, phases) = (dir.join(format!("{name}.toml")), dir.join(format!("{name}.phases")));
            std::fs::write(&file, toml::to_string(&config)?)?;
            let text = |path: &Path| path.display().to_string();
            let args = ["run", "--paced", "--config", &text(&file), "--phase-file", &text(&phases)];
            let args = args.map(str::to_owned).to_vec();
            let process = Process::start(&name, dir, &args)?;
            instances.all.push(Instance { process, name, args, phases });
        }
        for instance in &mut instances.all {
            instance.process.address(READY)?;
        }
        Ok(instances)
    }

    /// Where each says what it is doing.
    #[must_use]
    pub fn phases(&self) -> Vec<PathBuf> {
        self.all.iter().map(|i| i.phases.clone()).collect()
    }

    /// Whether all still run.
    ///
    /// # Errors
    /// What ended, and its last words.
    pub fn check(&mut self) -> anyhow::Result<()> {
        self.all.iter_mut().try_for_each(|i| i.process.check())
    }

    /// kill -9 of the `n`-th, from 0, which is then started again. Returns what it was doing.
    ///
    /// # Errors
    /// There is none, or it does not start again.
    pub fn kill(&mut self, n: usize) -> anyhow::Result<String> {
        let instance = self.all.get_mut(n).ok_or_else(|| anyhow::anyhow!("there is no instance {n}"))?;
        instance.process.kill()?;
        let at_kill: BTreeMap<String, String> = kills::read(&instance.phases);
        let busy: Vec<String> =
            at_kill.iter().filter(|(_, p)| *p != "idle").map(|(w, p)| format!("{w}: {p}")).collect();
        let doing = if busy.is_empty() { "idle".to_owned() } else { busy.join(", ") };
        instance.process = Process::start(&instance.name, &self.dir, &instance.args)?;
        Ok(format!("{} at {doing}", instance.name))
    }

    /// Their processes.
    #[must_use]
    pub fn into_processes(self) -> Vec<Process> {
        self.all.into_iter().map(|i| i.process).collect()
    }
}
