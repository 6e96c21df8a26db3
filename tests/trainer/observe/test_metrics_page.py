from pathlib import Path

from igpo_trainer.observe import metrics_page

PAGE = Path(__file__).parents[3] / "docs" / "metrics.md"


def test_the_page_in_docs_is_what_the_catalogue_makes():
    assert PAGE.read_text(encoding="utf-8") == metrics_page.page(), (
        "run python -m igpo_trainer.observe.metrics_page > docs/metrics.md"
    )
