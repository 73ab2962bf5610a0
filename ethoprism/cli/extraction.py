"""Commands that extract tokens."""

from __future__ import annotations

from ethoprism.cli.common import (
    ProjectFolder,
    Recordings,
    app,
    introduce,
    open_project,
    require_recordings,
)


@app.command()
def extract(project: ProjectFolder, recording: Recordings = None) -> None:
    """Extract the tokens of recordings; goes on where it stopped."""
    from ethoprism import console, workflow

    opened = open_project(project)
    require_recordings(opened)
    console.follow(workflow.fetch_weights(opened.settings), "Downloading")
    backbone = workflow.load_backbone(opened.settings)
    introduce(backbone.card)
    console.follow(workflow.extract_tokens(opened, backbone, recording or ()), "Extracting")
    key = workflow.project_key(opened, backbone)
    console.say(f"Tokens are complete in {opened.folder / 'tokens' / key.digest}")
