# FAN-T-Hybrid on the painted demo city, as short as can be: it shows how the study goes in minutes on a CPU and is no
# result. For one, take the changes out.
_base_ = './short.py'
base = '../fan_demo.py'
