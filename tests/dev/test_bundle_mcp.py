"""What MCP's clients really send, and what they are told, tried once more on what is deployed."""

import pytest

from tests.api.test_mcp_calls import (  # noqa: F401 - pytest collects them here, too
    test_failures_of_a_tool,
    test_fixed_tools,
    test_what_a_model_is_told,
)
from tests.api.test_mcp_spoken import (  # noqa: F401 - as above
    pair,
    test_cancelling,
    test_cancelling_in_another_instance,
    test_modern_body_with_another_header,
    test_null_is_left_out,
    test_other_mismatches_stay_faults,
    test_page_for_a_browser,
    test_slash_at_the_end,
    test_texts_that_break_clients,
)
from tests.dev.test_bundle import any_built, built  # noqa: F401 - a fixture, and what it needs
from tests.support.deployments import Parley

pytestmark = pytest.mark.long


@pytest.fixture
def parley(built: Parley) -> Parley:  # noqa: F811 - as above
    """Give what was built in place of the functions from source."""
    return built
