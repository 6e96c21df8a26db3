"""Texts of pages and charts, which lie beside the code that fills them in."""

from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined


def render(template: Path, **values: object) -> str:
    """Fill in a template; markup in values is escaped where the template is one of markup."""
    environment = Environment(
        loader=FileSystemLoader(template.parent),
        autoescape=lambda name: name is not None and name.endswith(".svg.jinja"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.get_template(template.name).render(**values)
