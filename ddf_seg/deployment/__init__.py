"""A trained network as a file that other runtimes run.

- `decompositions`: our operators in what every runtime knows
- `network`: image in, class ids out, all within one graph
- `converting`: that graph in other operators
- `exporting`: it as ONNX, OpenVINO's IR or torch's own program
"""
