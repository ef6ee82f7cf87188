"""/api/health: does the deployment reach its store, and with ?deep=1, does the store do what is asked of it?"""

from lib import settings
from lib.store import health
from lib.web.call import Call
from lib.web.endpoint import Actions, Endpoint, Reply


def check(call: Call) -> Reply:
    """Answer 200 if the store answers, and else with the store's problem."""
    latency = health.latency(call.store, deep=call.target.query.get("deep") == "1")
    return Reply(
        200,
        {
            "status": "ok",
            "store": {"latencyMs": round(latency, 1)},
            "environment": settings.environment(),
            "commit": settings.commit(),
        },
    )


class handler(Endpoint):
    """The health of the deployment."""

    def actions(self, call: Call) -> Actions:
        """Return what it answers."""
        return {"GET": check}
