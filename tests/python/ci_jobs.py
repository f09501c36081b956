"""Checks action.yml, and prints the shell scripts of the jobs in docs/ci.md and of the action, in their order, as JSON.

    ci_jobs.py ACTION PAGE
"""

import json
import re
import sys
from pathlib import Path

import yaml

PARTS = {"name", "description", "author", "branding", "inputs", "outputs", "runs"}


def action(text):
    """Its steps as (script, environment with inputs by name); what GitHub would refuse, or an input that nobody reads, ends this."""
    read = yaml.safe_load(text)
    assert set(read) <= PARTS and read["runs"]["using"] == "composite", read.keys()
    steps = read["runs"]["steps"]
    used = set()
    for step in steps:
        assert step["shell"] == "sh" and "${{" not in step["run"], "an input pasted into a script is a script"
        for name, value in step["env"].items():
            found = re.fullmatch(r"\$\{\{ inputs\.([a-z-]+) \}\}", value)
            assert found, value
            used.add(found[1])
            assert re.search(rf"\${{?{name}\b", step["run"]), f"{name} is not used"
    assert used == set(read["inputs"]), used ^ set(read["inputs"])
    for name, one in read["inputs"].items():
        assert one["description"] and ("default" in one) != one.get("required", False), name
    for name, one in read["outputs"].items():
        step, output = re.fullmatch(r"\$\{\{ steps\.([a-z]+)\.outputs\.([a-z-]+) \}\}", one["value"]).groups()
        assert any(one.get("id") == step and f"{output}=" in one["run"] for one in steps), name
    return read


def expanded(read, given):
    """The steps of the action with these inputs."""
    assert set(given) <= set(read["inputs"]), given
    inputs = {name: given.get(name, one.get("default")) for name, one in read["inputs"].items()}
    env = lambda step: {name: str(inputs[value.split("inputs.")[1].split(" ")[0]]) for name, value in step["env"].items()}
    return [{"script": step["run"], "env": env(step)} for step in read["runs"]["steps"]]


def jobs(page, read):
    for language, text in re.findall(r"```(yaml|groovy)\n(.*?)```", page, re.S):
        if language == "groovy":
            yield {"name": "jenkins", "steps": [{"script": line, "env": {}} for line in re.findall(r"\bsh '([^']*)'", text)]}
            continue
        block = yaml.safe_load(text)
        for name, job in (block.get("jobs") or block).items():
            if not isinstance(job, dict):
                continue
            if "script" in job:
                script = "\n".join(job["script"])
                branches = [{"CI_COMMIT_BRANCH": branch, "CI_DEFAULT_BRANCH": "main"} for branch in ("main", "change")]
                yield {"name": f"gitlab {name}", "steps": [{"script": script, "env": env} for env in branches]}
            elif "steps" in job:
                steps = []
                for step in job["steps"]:
                    if "run" in step:
                        assert "${{" not in step["run"], step
                        steps.append({"script": step["run"], "env": {}})
                    elif "closestorm" in step["uses"]:
                        steps += expanded(read, step["with"])
                yield {"name": f"github {name}", "steps": steps}
                if any("closestorm" in step.get("uses", "") for step in job["steps"]):
                    before = {"script": "closestorm run storm.toml --repeat 4 --save-baseline main --report-dir closestorm-report", "env": {}}
                    yield {"name": f"github {name}, with a baseline", "steps": [before, *steps]}


read = action(Path(sys.argv[1]).read_text())
print(json.dumps(list(jobs(Path(sys.argv[2]).read_text(), read))))
