"""What a page shows and its link holds, as tests read it."""

import re


def unescaped(markdown):
    """A Markdown text as a page shows it, where nothing in it is Markdown."""
    return re.sub(r"\\([^a-zA-Z0-9\s])", r"\1", markdown).replace("\u2060", "")


def texts(app):
    kinds = ("markdown", "caption", "info", "error", "warning")
    return " ".join(element.value for kind in kinds for element in app.get(kind))


def figures(app):
    return {metric.label: metric.value for metric in app.metric}


def query_of(app):
    return {name: value if isinstance(value, str) else value[0] for name, value in app.query_params.items()}
