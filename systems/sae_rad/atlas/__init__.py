"""The feature atlas: a folder of HTML pages on an autoencoder's features and on the reports made from them."""
