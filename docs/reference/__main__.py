"""``python -m docs.reference``: write the reference pages anew."""

from docs.reference import write_pages

if __name__ == "__main__":
    write_pages()
