import shutil
import subprocess

from fedrec_tff.run.folder import provenance


def _git(folder, *arguments):
    named = ["-c", "user.name=n", "-c", "user.email=n@example.org"]
    ended = subprocess.run(
        ["git", "-C", folder, *named, *arguments], capture_output=True, text=True, check=True
    )
    return ended.stdout.strip()


def _make_repository(folder):
    _git(folder, "init", "--quiet")
    (folder / "file.py").write_text("1\n")
    _git(folder, "add", "file.py")
    _git(folder, "commit", "--quiet", "--message=m")
    return _git(folder, "rev-parse", "HEAD")


def test_the_revision_is_that_of_the_code_and_of_no_project_around_it(tmp_path, monkeypatch):
    commit = _make_repository(tmp_path)
    monkeypatch.setattr(provenance, "__file__", str(tmp_path / "file.py"))
    assert provenance.git_revision() == commit
    (tmp_path / "file.py").write_text("2\n")
    assert provenance.git_revision() == f"{commit}-dirty"

    installed = tmp_path / ".venv" / "site-packages" / "provenance.py"
    installed.parent.mkdir(parents=True)
    shutil.copy(tmp_path / "file.py", installed)
    monkeypatch.setattr(provenance, "__file__", str(installed))
    assert provenance.git_revision() is None


def test_code_that_is_in_no_repository_has_no_revision(tmp_path, monkeypatch):
    monkeypatch.setattr(provenance, "__file__", str(tmp_path / "file.py"))
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert provenance.git_revision() is None
    monkeypatch.setenv("PATH", str(tmp_path))
    assert provenance.git_revision() is None
