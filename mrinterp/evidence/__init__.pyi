from ._fact_names import FACTS as FACTS
from ._grade import grade as grade
from ._rules import Rules as Rules
from ._rules import read_rules as read_rules
from ._rules import rule_versions as rule_versions
