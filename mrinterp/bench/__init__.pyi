from ._evaluation import commitment as commitment
from ._method import Answer as Answer
from ._method import Method as Method
from ._method_table import bench_methods as bench_methods
from ._runner import run_bench as run_bench
