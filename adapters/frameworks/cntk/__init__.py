"""CNTK 2.7 on the CPU: a graph whose batch is implicit, run by Function.forward and grad."""
