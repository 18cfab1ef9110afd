"""Weight nowcasting for any PyTorch model: Adam takes most of the steps, a graph network the rest."""
